"""`quickstudy predict MODEL RECORDS`: names and probabilities, numbers and their spread, or a forecast."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from quickstudy.cli.parse import one_task, open_model, parse, table
from quickstudy.deploy.model import Model
from quickstudy.deploy.pictures import write_masks
from quickstudy.errors import DataError
from quickstudy.formats.records import Broken, Records, say, summed
from quickstudy.hub import local
from quickstudy.storage.atomic import cell_text, write_csv
from quickstudy.storage.folders import refuse_mixing, refuse_replacing
from quickstudy.targets.answers.base import Answer
from quickstudy.terminal import tell

_BATCH = 256
_TABLE = "predictions.csv"
_ALARMS = 0.05  # where no rate is given
_SHOWN = 50  # rows printed when no file is asked for
_COLUMNS = 12  # that fit a screen


@dataclass
class Predict:
    """Say of records what a model from `quickstudy adapt` has learned: classes, numbers, or how a series goes on."""

    model: tyro.conf.Positional[Path]
    """Folder of the adapted model."""
    records: tyro.conf.Positional[tuple[str, ...]]
    """Files, or folders of them; one CSV file of rows, or of the values of a series so far; a data set of the hub
    (hf://OWNER/NAME/SPLIT); or texts themselves."""
    out: Path | None = None
    """CSV file to write: where each record comes from, and all that is said of it. Of masks, a folder: a PNG file for
    each image, one of its doubt, and a table, predictions.csv."""
    bom: bool = False
    """Begin the table with a byte order mark, by which Excel knows that it is in UTF-8."""
    steps: int | None = None
    """How many values to forecast, of a time series; 1 if not given."""
    task: str | None = None
    """Which task, where the file holds several: the name of a series, or of a group of rows."""
    coverage: float | None = None
    """Also give, of classes, the set that holds the right one in this share of cases, such as 0.95; of numbers and
    forecasts the interval that holds the true one."""
    reject: bool = False
    """Also say which inputs are of none of the classes. One in twenty of those that are is then taken for none."""
    false_alarms: float | None = None
    """The same, with another share of inputs of the classes that are taken for none, such as 0.01."""
    background: Path | None = None
    """Records that are of none of the classes: of the like, too, no larger share is taken for one. Needs 19 of them or
    more, and 99 for --false-alarms 0.01."""
    broken: Broken = "refuse"
    """What to do with a record that cannot be read: refuse all, or skip it."""
    device: str = "auto"
    """Where to run."""


def run(argv: Sequence[str]) -> int:
    options = parse(Predict, "predict", argv)
    model = open_model(options.model, options.device)
    format = model.spec.format
    if not options.records:
        raise DataError(f"No {format.what} were given. Name files or folders after the model.")
    place = ", ".join(options.records)
    records = one_task(
        format.given([str(local(word)) for word in options.records]), options.task, place, model.spec.target
    )
    pictures = options.out is not None and bool(model.spec.target.grid) and options.out.suffix.lower() != ".csv"
    if options.out is not None:
        if pictures:
            refuse_mixing(options.out, _TABLE)
        else:
            refuse_replacing(options.out)
        named = (Path(word) for word in options.records if os.path.exists(word))
        read = {path.resolve() for path in (*named, *records.items) if isinstance(path, Path)}
        if options.out.resolve() in read or (pictures and any(options.out.resolve() in path.parents for path in read)):
            raise DataError(f"--out {options.out} is a file to predict from, and would be lost. Choose another.")
    asked: dict[str, Any] = {} if options.steps is None else {"steps": options.steps}
    rejects = options.reject or options.background is not None
    alarms = _ALARMS if rejects and options.false_alarms is None else options.false_alarms
    believed = {"coverage": options.coverage, "false_alarms": alarms}
    asked |= {name: value for name, value in believed.items() if value is not None}
    if options.background is not None and alarms is not None:
        others = format.find(local(str(options.background)), labelled=False).items
        asked["least"] = model.threshold(others, alarms)
    columns: tuple[str, ...] = ()
    rows: list[tuple[Any, ...]] = []
    notices: list[str] = []
    for names, answer, items in _answers(model, records, options.broken, asked, notices):
        columns = answer.columns
        if pictures and options.out is not None and answer.maps is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            write_masks(options.out, names, answer.maps, items, format)
        rows += [(name, *row) for name, row in zip(names, answer.rows(), strict=True)]
    say(summed(notices, len(rows)))
    if not rows:
        raise DataError(f"None of the {format.what} in {place} could be read. Give others.")
    if options.out is None:
        shown = [[cell_text(value) for value in row[:_COLUMNS]] for row in rows[:_SHOWN]]
        table("", [format.place, *columns[: _COLUMNS - 1]], shown)
        if len(rows) > _SHOWN or len(columns) >= _COLUMNS:
            tell(f"There are {len(rows)} rows and {1 + len(columns)} columns. Write all with --out predictions.csv")
        return 0
    written = options.out / _TABLE if pictures else options.out
    write_csv(written, [format.place, *columns], rows, options.bom)
    tell(f"Wrote {len(rows)} predictions to {options.out}")
    return 0


def _answers(
    model: Model, records: Records, broken: Broken, asked: dict[str, Any], notices: list[str]
) -> Iterator[tuple[list[str], Answer, list[Any]]]:
    """What each answer is about, the answers, and the records, for a batch of records at a time.

    notices: what was done to records is put there.
    """
    format, called = model.spec.format, records.called
    for start in range(0, len(records.items), _BATCH):
        stored = format.query(records.items[start : start + _BATCH], broken)
        notices += stored.notices
        if stored.kept:
            names = [called[start + i] for i in stored.kept]
            items = [records.items[start + i] for i in stored.kept]
            of_format = {name: value for name, value in asked.items() if name == "steps"}
            yield format.answered(names, **of_format), model.answer(stored, **asked), items
