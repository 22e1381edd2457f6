"""The file that names the values of masks."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from quickstudy.errors import DataError
from quickstudy.targets.maps import BACKGROUND

_log = logging.getLogger("quickstudy")
VOID = ("void", "ignore", "ignored", "unlabelled", "unlabeled")
"""What pixels are called that nobody has labelled."""
_NAMED = re.compile(r"(\d+)[\s:;,=：；，＝]+(\S.*)")


def names_of_values(path: Path) -> tuple[tuple[int, str], ...]:
    """The names of values in a file: '1 cell' in each line, or names alone, of 0, 1, 2 and so on; # begins a remark."""
    if not path.exists():
        return ()
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text in UTF-8 ({error}). Write '1 cell' in each line.") from error
    lines = [line for line in lines if line and not line.startswith("#")]
    cells = [_NAMED.fullmatch(line) for line in lines]
    numbered = [(int(cell[1]), cell[2]) for cell in cells if cell]
    if 0 < len(numbered) < len(lines):
        line = lines[cells.index(None)]
        raise DataError(f"{path}: the line {line!r:.60} does not begin with a value, as '1 cell' does. Correct it.")
    named = [(value, _plain(name)) for value, name in numbered or enumerate(lines)]
    twice = [value for value, _ in named]
    if len(set(twice)) < len(twice):
        raise DataError(f"{path} names the value {max(twice, key=twice.count)} twice. Keep one line of it.")
    first = dict(named).get(0, BACKGROUND)
    if first not in (BACKGROUND, *VOID) and BACKGROUND not in dict(named).values():
        _log.warning(
            "%s calls no value 'background', so that %r is to be found like any other class. If it is the background, "
            "write '0 background' there.", path, first,
        )  # fmt: skip
    return tuple(named)


def _plain(name: str) -> str:
    """The name of a class; of the background, and of pixels that nobody has labelled, however they are written."""
    word = name.strip(" _-").casefold()
    return word if word in (BACKGROUND, *VOID) else name
