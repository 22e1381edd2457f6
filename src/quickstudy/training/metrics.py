"""Metrics as they come: one JSON object a line, and TensorBoard where it is installed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from quickstudy.errors import RunError
from quickstudy.storage.atomic import GO_ON, write_atomically

NAME = "metrics.jsonl"


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics, in order; a last line that was cut off by a crash is left out."""
    path = folder / NAME
    if not path.exists():
        return []
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


class MetricsLog:
    """Appends to the metrics of a run. Lines after `step`, written by a run that was killed, are dropped first.

    writes: if not, nothing is written: another process does.
    """

    def __init__(self, folder: Path, step: int, writes: bool = True) -> None:
        self._file: IO[str] | None = None
        self._board: Any = None
        if not writes:
            return
        kept = [line for line in read_metrics(folder) if line["step"] <= step]
        write_atomically(folder / NAME, "".join(json.dumps(line) + "\n" for line in kept).encode(), GO_ON)
        self._file = (folder / NAME).open("a", buffering=1)
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()

    def write(self, split: str, step: int, facts: dict[str, float], seconds: float, note: str = "") -> None:
        """facts: name to number. seconds: training time so far. note: what to know when reading them."""
        if self._file is None:
            return
        line = {"split": split, "step": step, **facts, "seconds": round(seconds, 3)} | ({"note": note} if note else {})
        board = f"{split} {note}" if note else split
        try:
            self._file.write(json.dumps(line) + "\n")
            if self._board is not None:
                for name, value in facts.items():
                    self._board.add_scalar(f"{board}/{name}", value, step)
        except OSError as error:
            raise RunError(
                f"Could not write metrics to {self._file.name}: {error.strerror}. Free space, then {GO_ON}."
            ) from error
