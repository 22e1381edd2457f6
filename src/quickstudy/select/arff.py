"""Tables in Weka's attribute-relation file format (ARFF), as ASlib has them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quickstudy.errors import DataError, first_of

_NUMERIC = ("numeric", "real", "integer")
_ATTRIBUTE = re.compile(r"@attribute\s+(?P<name>'(?:\\.|[^'])*'|\"(?:\\.|[^\"])*\"|[^\s{]+)\s*(?P<kind>.*)$", re.I)
_VALUE = re.compile(r"\s*(?:'((?:\\.|[^'\\])*)'|\"((?:\\.|[^\"\\])*)\"|([^,'\"\s][^,]*|))\s*(?:,|$)")


class Arff(NamedTuple):
    """A table. place: where it was read, for messages. names: of its columns. kinds: what each holds, in lower case.
    rows: texts, None for what is missing. lines: the number of each row's line, from 1."""

    place: str
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    rows: list[list[str | None]]
    lines: list[int]

    def column(self, name: str) -> int:
        """The place of a column, whatever its case; DataError if there is none."""
        lower = [one.lower() for one in self.names]
        if name.lower() not in lower:
            raise DataError(
                f"{self.place} has no column {name!r}, only {first_of(self.names)}. It is needed: restore the file."
            )
        return lower.index(name.lower())

    def texts(self, name: str) -> list[str]:
        """A column of which nothing may be missing."""
        column = self.column(name)
        for row, line in zip(self.rows, self.lines, strict=True):
            if row[column] is None:
                raise DataError(f"{self.place}, line {line}: {name!r} is missing (?). Complete the line.")
        return [str(row[column]) for row in self.rows]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column of numbers, (rows,); NaN for what is missing. DataError for what is no finite number."""
        column = self.column(name)
        values = np.full(len(self.rows), np.nan)
        for place, (row, line) in enumerate(zip(self.rows, self.lines, strict=True)):
            text = row[column]
            if text is None:
                continue
            try:
                values[place] = float(text)
            except ValueError:
                values[place] = np.inf
            if not np.isfinite(values[place]):
                raise DataError(
                    f"{self.place}, line {line}: {name!r} is {text[:40]!r}, expected a finite number, or ? where it is "
                    "missing. Correct the line."
                )
        return values


def read_arff(text: str, place: str) -> Arff:
    """The table that `text` writes. place: where it lies, for messages. DataError, naming the line, if it is none."""
    names, kinds, rows, lines = list[str](), list[str](), list[list[str | None]](), list[int]()
    inside = False
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("%"):
            continue
        where = f"{place}, line {number}"
        if inside:
            values = _values(line, where)
            if len(values) != len(names):
                raise DataError(f"{where}: {len(values)} values, expected {len(names)}. Correct the line.")
            rows.append(values)
            lines.append(number)
        elif line.lower().startswith("@attribute"):
            name, kind = _attribute(line, where)
            names.append(name)
            kinds.append(kind)
        elif re.match(r"@data\b", line, re.I):
            inside = True
        elif not line.lower().startswith("@relation"):
            raise DataError(f"{where}: {line[:60]!r} is no part of an ARFF file's head. Correct the line.")
    if not inside or not names:
        raise DataError(f"{place} is no ARFF file: it has no {'@attribute' if inside else '@data'}. Restore it.")
    if twice := sorted({name for name in names if [n.lower() for n in names].count(name.lower()) > 1}):
        raise DataError(f"{place} has two columns called {twice[0]!r}. Rename one.")
    return Arff(place, tuple(names), tuple(kinds), rows, lines)


def _attribute(line: str, where: str) -> tuple[str, str]:
    found = _ATTRIBUTE.match(line)
    kind = found["kind"].strip().lower() if found else ""
    if found is None or not (kind in (*_NUMERIC, "string") or kind.startswith("{")):
        raise DataError(f"{where}: {line[:60]!r} should be @attribute NAME and numeric, string or {{…}}. Correct it.")
    return _unquoted(found["name"]), kind


def _unquoted(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if quoted else text


def _values(line: str, where: str) -> list[str | None]:
    if line.startswith("{"):
        raise DataError(f"{where}: rows that leave out zeros ({{…}}) are not read. Write out all values.")
    if "'" not in line and '"' not in line:
        plain = [text.strip() for text in line.split(",")]
        return [None if text == "?" else text for text in plain]
    return [*_quoted(line, where)]


def _quoted(line: str, where: str) -> Iterator[str | None]:
    at, more = 0, True
    while more:
        found = _VALUE.match(line, at)
        if found is None:
            raise DataError(f"{where}: a quotation mark is not closed, or a comma is missing after it. Correct it.")
        single, double, bare = found.groups()
        inner: Any = single if single is not None else double
        yield re.sub(r"\\(.)", r"\1", inner) if inner is not None else (None if bare.strip() == "?" else bare.strip())
        at, more = found.end(), found[0].endswith(",")
