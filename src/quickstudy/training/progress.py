"""What is seen while something long runs: where it stands, how fast it goes, how long it will take."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

from quickstudy.terminal import Output, console, words

_EVERY = 10.0  # seconds between lines where there is no terminal
_OFTEN = 0.5  # and between changes of a notebook's output
_LINES, _WIDE = 6, 30  # that stay there, the newest; characters of the bar


def duration(seconds: float | None) -> str:
    """'48 s', '3 min 05 s', '2 h 10 min'; 'an unknown time' for None."""
    if seconds is None:
        return "an unknown time"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """A bar in a terminal, a line every ten seconds in a log, one output in a notebook that is written anew, with the
    last few lines that were said. A context manager; `quiet` shows nothing.

    total: number of steps. start: steps done before.
    """

    def __init__(self, title: str, total: int, start: int = 0, quiet: bool = False) -> None:
        self.title, self.total, self.done = title, total, start
        self._start, self._quiet = start, quiet
        self._bar: Any = None
        self._task: Any = None
        self._output: Output | None = None
        self._lines: list[str] = []
        self._began = self._said = time.perf_counter()

    def __enter__(self) -> Self:
        if not self._quiet:
            from rich.progress import BarColumn, MofNCompleteColumn
            from rich.progress import Progress as Bars

            self._console = console(stderr=True)
            if Output.there():
                self._output = Output(self.title)
            elif self._console.is_terminal:
                columns = (
                    words("task.description"),
                    BarColumn(),
                    MofNCompleteColumn(),
                    words("task.fields[note]"),
                )
                self._bar = Bars(*columns, console=self._console, transient=True)
                self._bar.start()
                self._task = self._bar.add_task(self.title, total=self.total, completed=self._start, note="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._output is not None:
            took = duration(time.perf_counter() - self._began)
            self._output.show(*self._kept, f"{self.title} {self.done}/{self.total}  {took}")

    @property
    def left(self) -> float:
        """Seconds still to go, at the pace so far."""
        fresh = self.done - self._start
        spent = time.perf_counter() - self._began
        return spent / fresh * (self.total - self.done) if fresh else float("nan")

    def update(self, done: int, note: str = "") -> None:
        """`done` steps are done; `note` is shown beside them."""
        self.done = done
        if self._quiet:
            return
        left = f"{duration(self.left)} left" if self.left == self.left else ""
        text = ", ".join(part for part in (note, left) if part)
        if self._output is not None:
            if time.perf_counter() - self._said >= _OFTEN:
                self._write(text)
        elif self._bar is not None:
            self._bar.update(self._task, completed=done, note=text)
        elif time.perf_counter() - self._said >= _EVERY or done == self.total:
            self._said = time.perf_counter()
            self._console.print(f"{self.title} {done}/{self.total}  {text}", soft_wrap=True)

    def say(self, text: str) -> None:
        """A line that stays; in a notebook, until there are many."""
        if self._output is not None:
            self._lines.append(text)
            self._write()
        elif not self._quiet:
            self._console.print(text, soft_wrap=True)

    @property
    def _kept(self) -> list[str]:
        """The newest lines that stay."""
        earlier = len(self._lines) - _LINES
        return [*([f"… {earlier} earlier"] if earlier > 0 else []), *self._lines[-_LINES:]]

    def _write(self, note: str = "") -> None:
        assert self._output is not None
        self._said = time.perf_counter()
        full = round(_WIDE * self.done / max(1, self.total))
        bar = "█" * full + "░" * (_WIDE - full)
        self._output.show(*self._kept, f"{self.title} {bar} {self.done}/{self.total}  {note}")
