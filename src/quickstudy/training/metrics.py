"""Metrics as they come: one JSON object a line, and TensorBoard where it is installed."""

from __future__ import annotations

import importlib.util
import json
import logging
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypedDict

from quickstudy.errors import CheckpointError, RunError
from quickstudy.files import require_regular
from quickstudy.storage.atomic import GO_ON, write_atomically
from quickstudy.storage.json import fitting, parsed
from quickstudy.terminal import visible

NAME = "metrics.jsonl"
_LONGEST, _LARGEST = 1 << 16, 1 << 28  # bytes of a line, and of all
_log = logging.getLogger("quickstudy")


class _Line(TypedDict):
    split: str
    step: int
    seconds: float


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics, in order; a last line that was cut off by a crash is left out.

    Lines that are damaged are left out with a warning: what they say is nowhere else, and nothing depends on it.
    """
    path = folder / NAME
    require_regular(path)
    if not path.exists():
        return []
    good, bad = [], []
    with path.open("rb") as file:
        for number, text in enumerate(iter(partial(file.readline, _LONGEST), b""), start=1):
            what = f"Line {number} of {path}"
            if not text.endswith(b"\n") and len(text) < _LONGEST:
                break
            if file.tell() > _LARGEST:
                raise CheckpointError(
                    f"{path} is larger than {_LARGEST >> 20} MiB, so it is not what quickstudy wrote. Move it away: "
                    "metrics are for reading, and nothing depends on them."
                )
            try:
                if text.strip():
                    good.append(fitting(parsed(text, what, dict[str, str | float]), _Line, what))
            except CheckpointError as error:
                bad.append(str(error))
    if bad:
        _log.warning("%d damaged lines of %s are left out. %s", len(bad), path, bad[0])
    return good


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

            try:
                self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)
            except UnicodeEncodeError:
                where = visible(str(folder))
                _log.warning("TensorBoard takes no folder whose name is not UTF-8, such as %s: it is left out.", where)

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
