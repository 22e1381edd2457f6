"""`quickstudy score MODEL FILES`: how good an adapted model is on labelled files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import tyro

from quickstudy.cli.parse import open_model, parse, support_set, table
from quickstudy.deploy.labelled import Labelled, records_at
from quickstudy.deploy.scored import Scored, Share
from quickstudy.deploy.scoring import scored
from quickstudy.errors import DataError
from quickstudy.formats.records import Broken, Records
from quickstudy.report.mistakes import worst_pairs
from quickstudy.report.scored import score_page
from quickstudy.storage.atomic import write_csv
from quickstudy.storage.folders import refuse_replacing
from quickstudy.storage.json import write_json
from quickstudy.targets.reported import numeral
from quickstudy.terminal import tell

_SHOWN = 30  # classes printed


@dataclass
class Score:
    """Measure an adapted model on labelled files that it was not adapted to."""

    model: tyro.conf.Positional[Path]
    """Folder of the adapted model."""
    files: tyro.conf.Positional[tuple[Path, ...]]
    """Labelled examples, as `quickstudy adapt --support` takes them: folders with one sub-folder of files for each
    class; files of rows with their labels; images with masks; or a CSV file of a series, whose last values are
    forecast."""
    out: Path | None = None
    """A JSON file to write all figures to."""
    predictions: Path | None = None
    """A CSV file to write: where each record comes from, its label, whether the answer is right, and the answer."""
    bom: bool = False
    """Begin that table with a byte order mark, by which Excel knows that it is in UTF-8."""
    report: Path | None = None
    """A page to write (HTML), with pictures of all this."""
    coverage: float | None = None
    """Also measure how often sets with this coverage, such as 0.95, hold the right class, and how large they are."""
    false_alarms: float | None = None
    """Also measure which files are taken to be of none of the classes at this rate of false alarms, such as 0.05."""
    steps: int | None = None
    """How many of the last values of a series to forecast; 1 if not given."""
    task: str | None = None
    """Which task, where a file holds several: the name of a series, or of a group of rows."""
    target: str | None = None
    """The column of rows that holds the label, if it is not called as where the model was adapted."""
    broken: Broken = "refuse"
    """What to do with a record that cannot be read: refuse all, or skip it."""
    device: str = "auto"
    """Where to run."""


def run(argv: Sequence[str]) -> int:
    options = parse(Score, "score", argv)
    model = open_model(options.model, options.device)
    if not options.files:
        raise DataError(f"No labelled {model.spec.format.what} were given. Name folders or files after the model.")
    outputs = [path for path in (options.out, options.predictions, options.report) if path is not None]
    for path in outputs:
        refuse_replacing(path)
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise DataError(f"Two of the files to write are one: {', '.join(map(str, outputs))}. Give each its own name.")
    spec = model.spec
    told = spec if options.target is None else replace(spec, format=spec.format.told(label=options.target))
    found = _joined([support_set(told, place, options.task, records_at) for place in options.files])
    read = {path.resolve() for path in (*options.files, *found.items) if isinstance(path, Path)}
    for path in outputs:
        if path.resolve() in read:
            raise DataError(f"{path} is a file to measure on, and would be lost. Write to another.")
    asked: dict[str, Any] = {} if options.steps is None else {"steps": options.steps}
    given = Labelled.of(spec, found.items, found.labels, options.broken)
    answer = partial(model.answer, coverage=options.coverage, false_alarms=options.false_alarms)
    done = scored(
        spec, model.names, answer, given, options.broken, model.transductive, options.false_alarms, **asked
    )  # fmt: skip
    _print(done)
    if options.out is not None:
        write_json(options.out, done.to_json())
        tell(f"Wrote all figures to {options.out}")
    own = spec.format.labels_itself
    names = [f"{found.names[0]} +{i + 1}" for i in done.kept] if own else _names(found, given, done)
    if options.predictions is not None:
        called = names if own else _names(found._replace(names=found.called), given, done)
        rows = [(name, *row) for name, row in zip(called, done.rows, strict=True)]
        write_csv(options.predictions, [spec.format.place, *done.columns], rows, options.bom)
        tell(f"Wrote {len(rows)} predictions to {options.predictions}")
    if options.report is not None:
        score_page(done, options.report, options.model.resolve().name, given.records, names)
        tell(f"Wrote {options.report}")
    return 0


def _joined(parts: Sequence[Records]) -> Records:
    """The records of several places as those of one."""
    if len(parts) == 1:
        return parts[0]
    if any(part.labels is None for part in parts):
        raise DataError("A series is its own labels, and one is measured at a time. Name one file.")
    items, names = [item for part in parts for item in part.items], [name for part in parts for name in part.names]
    return Records(items, names, [label for part in parts for label in part.labels or ()])


def _names(found: Records, given: Labelled, done: Scored) -> list[str]:
    """Where each record of `done` comes from; masks that could not be read have been left out of those given."""
    called = {id(item): name for item, name in zip(found.items, found.names, strict=True)}
    return [called[id(given.records[i])] for i in done.kept]


def _print(done: Scored) -> None:
    rows = [[one.figure.name, one.figure.show(one.share.value), one.between, one.guessed] for one in done.figures]
    table(f"On {done.count} labelled {done.what}", ["figure", "value", "95 % interval", done.blind], rows)
    pixels = bool(done.spec.target.grid)
    if done.hits:
        shown = [
            [
                one.name,
                str(one.true),
                _percent(one.recall),
                _percent(one.precision),
                *([_percent(one.iou)] if pixels else []),
            ]
            for one in done.hits[:_SHOWN]
        ]
        table("", ["class", "pixels" if pixels else "n", "recall", "precision", *(["IoU"] if pixels else [])], shown)
        if len(done.hits) > _SHOWN:
            tell(f"There are {len(done.hits)} classes: all are in --out scores.json.")
    if pairs := worst_pairs([list(row) for row in done.confusion]):
        told = [f"{done.classes[t]} taken for {done.classes[p]} ({n} of {done.hits[t].true})" for t, p, n in pairs]
        tell(f"Most often: {', '.join(told)}")
    if done.reliability is not None:
        tell(f"Calibration error of its probabilities: {done.reliability.error:.3f}")
    for one in done.promises:
        level, size = f"{100 * one.level:g} %", numeral(one.size)
        tell(f"Its {one.what} of {level} hold the truth in {_share(one.found)}; size {size} in the mean")
    if done.refusals is not None:
        tell(
            f"Taken for none of its classes: {_share(done.refusals.known)} of what is of them, where "
            f"{100 * done.refusals.promised:g} % were promised"
            + (f", and {_share(done.refusals.unknown)} of what is not" if done.unknown else "")
        )
    if done.transductive:
        tell("Transductive: records may change each other's answers.")
    if done.left_out:
        tell(f"{done.left_out} {done.what} could not be read and are left out.")
    if done.warning:
        tell(f"Warning: {done.warning}")


def _share(share: Share) -> str:
    return f"{100 * share.value:.1f} % (95 % interval {100 * share.low:.1f} to {100 * share.high:.1f} %)"


def _percent(value: float) -> str:
    return "–" if value != value else f"{100 * value:.0f} %"
