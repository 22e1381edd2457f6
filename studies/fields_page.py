"""The tables of docs/fields/*.md, of stored results: `python -m studies.fields_page` writes them between marks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quickstudy.storage.atomic import write_atomically
from quickstudy.storage.json import read_json
from studies.common import RESULTS
from studies.table import percent, table

PAGES = Path(__file__).parent.parent / "docs" / "fields"
_MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n)(?:(?!<!--).)*(<!-- end of table -->)", re.S)


def _plain(found: dict[str, float]) -> str:
    return f"{found['mean']:.2f} ± {found['ci95']:.2f}"


def _stored(name: str) -> dict[str, Any]:
    return dict(read_json(RESULTS / f"{name}.json"))


def patients() -> str:
    found = _stored("fields-medicine")
    sizes = list(next(iter(found["rows"].values())))
    rows = [[name, *(percent(row[size]) for size in sizes)] for name, row in found["rows"].items()]
    return table(["right, in %", *(f"{size} patients known" for size in sizes)], rows)


def cells() -> str:
    columns = ("nucleus of blood cells", "blood cells")
    rows = _stored("masks")["rows"]
    return table(["IoU, in %", *columns], [[name, *(percent(row[c]) for c in columns)] for name, row in rows.items()])


def firms() -> str:
    found = _stored("fields-finance")["firms"]["rows"]
    return table(["", "mean error, in % of what is invested"], [[name, percent(row)] for name, row in found.items()])


def series() -> str:
    found = _stored("fields-finance")["series"]["rows"]
    rows = [[name, _plain(row), f"{row['median']:.2f}"] for name, row in found.items()]
    return table(["", "squared error, in variances of what was seen", "median"], rows)


def signs() -> str:
    return table(["", "right, in %"], [[name, percent(row)] for name, row in _stored("fields-traffic")["rows"].items()])


def encoders() -> str:
    heads = ("cosine prototypes", "ridge regression, λ = 0.1")
    untrained = {name: told for name, told in _stored("many")["rows"].items() if name.endswith("as they are")}
    rows = [
        [name, head, percent(told[head]["domains"]["traffic signs"])]
        for name, told in untrained.items()
        for head in heads
    ]
    return table(["encoder", "learner", "right, in %"], rows)


def highway() -> str:
    found = _stored("agents")["found"]["highway"]
    columns = ["return in episode 1", f"return in episode {found['episodes of a trial']}"]
    rows = [[who, *(_plain(row[c]) for c in columns)] for who, row in found["rows"].items() if who in (
        "trained", "its memory wiped", "acting at random")]  # fmt: skip
    far = {who: row for who, row in found["in highway-env"].items() if who in ("trained", "its memory wiped")}
    rows += [[f"in highway-env: {who}", *(_plain(row[c]) for c in columns)] for who, row in far.items()]
    return table(["", "first episode", "third episode"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "patients": patients, "cells": cells, "firms": firms, "series": series, "signs": signs, "encoders": encoders,
    "highway": highway,
}  # fmt: skip


def filled(text: str) -> str:
    """A page with its tables made anew."""
    return _MARKED.sub(lambda mark: f"{mark[1]}\n{TABLES[mark[2]]()}\n{mark[3]}", text)


def main() -> None:
    for page in sorted(PAGES.glob("*.md")):
        write_atomically(page, filled(page.read_text()).encode())


if __name__ == "__main__":
    main()
