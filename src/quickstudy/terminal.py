"""What is said to people: answers on standard output, progress on standard error."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST = 2000  # characters of a complaint, which may quote whole files


def visible(text: str) -> str:
    r"""The text on one line, with what a terminal would obey or could not show written out.

    >>> print(visible("a\nb \x1b[31mred"))
    a\nb \x1b[31mred
    """
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def console(*, stderr: bool = False) -> Any:
    """A rich console that takes text as it is: what users wrote in brackets is no markup.

    Answers have their full width where they go to a file or a pipe; progress is lost where nobody can read it.
    """
    from rich.console import Console

    plain: Any = {"markup": False, "emoji": False, "highlight": False, "force_jupyter": False}
    if stderr:
        return Console(file=_Losable(sys.stderr), **plain)  # type: ignore[arg-type]
    return Console(**plain) if sys.stdout.isatty() else Console(width=160, soft_wrap=True, **plain)


class Output:
    """One output of a notebook's cell, which is written anew instead of growing. `there` says whether this is one."""

    def __init__(self, text: str = "") -> None:
        from IPython.display import display

        self._handle = display({"text/plain": text}, raw=True, display_id=True)

    @staticmethod
    def there() -> bool:
        """Whether Python runs as the kernel of a notebook."""
        shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
        return getattr(shell, "kernel", None) is not None

    def show(self, *lines: str) -> None:
        """Write these lines in the place of what was there."""
        self._handle.update({"text/plain": "\n".join(map(visible, lines))}, raw=True)


def words(of: str) -> Any:
    """A column of rich's progress bars that shows text as it is. of: which, such as 'task.description'."""
    from rich.progress import TextColumn

    return TextColumn(f"{{{of}}}", markup=False)


class _Losable(io.TextIOBase):
    """Standard error for progress: once it cannot be written, the work goes on unseen."""

    def __init__(self, file: IO[str]) -> None:
        self._file, self._lost = file, False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._file, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return self._file.isatty()

    def fileno(self) -> int:
        return self._file.fileno()

    def write(self, text: str) -> int:
        self._or_lose(lambda: self._file.write(text))
        return len(text)

    def flush(self) -> None:
        self._or_lose(self._file.flush)

    def _or_lose(self, act: Any) -> None:
        if not self._lost:
            try:
                act()
            except OSError:
                self._lost = True


@contextmanager
def able_to_speak() -> Iterator[None]:
    """Within it, standard output and error take any text in any encoding, and are there even if they were closed."""
    for number in (1, 2):
        try:
            os.fstat(number)
        except OSError:  # else the next file to be opened would get what is printed
            os.open(os.devnull, os.O_WRONLY)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in before)  # noqa: SIM115
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    errors = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, way in zip(streams, errors, strict=True):
            stream.reconfigure(errors=way)
        sys.stdout, sys.stderr = before


def tell(*lines: str) -> None:
    """Say something on standard output: each of `lines` is one line, whatever it holds; see `visible`."""
    for line in lines:
        print(visible(line))


def complain(*lines: str) -> None:
    """Say something on standard error, each on one line, if it can still be said there; what is very long is cut."""
    for line in lines:
        _Losable(sys.stderr).write(f"{visible(line if len(line) <= _LONGEST else f'{line[:_LONGEST]} …')}\n")


def finished() -> OSError | None:
    """Write out what was said on standard output; the error if it cannot be, after which nothing more is written."""
    try:
        sys.stdout.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # Python writes out the rest when it ends, and would complain again
        os.close(nowhere)
        return error
    return None
