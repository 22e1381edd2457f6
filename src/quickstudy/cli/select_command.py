"""`quickstudy select SCENARIO`: measure selectors of algorithms, keep one, and choose for new instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from numpy import isnan

from quickstudy import registry
from quickstudy.cli import own
from quickstudy.cli.parse import parse, table
from quickstudy.errors import ConfigError, RunError, first_of, unknown_name
from quickstudy.options import pairs
from quickstudy.select import FoldScore, Measured, Scenario, Selection, fit, measure, read_rows, read_scenario
from quickstudy.select.scores import folds_of
from quickstudy.select.selection import STORED
from quickstudy.storage.atomic import write_csv
from quickstudy.storage.folders import refuse_replacing
from quickstudy.storage.json import write_json
from quickstudy.terminal import tell
from quickstudy.training.progress import Progress

_SHOWN = 50  # choices printed when no file is asked for


@dataclass
class Select:
    """Measure selectors of algorithms on the official folds of a scenario; or keep one, and choose for instances."""

    place: tyro.conf.Positional[Path]
    """A scenario of ASlib (its folder, or a zip file of it), or a selector that --keep has stored."""
    selectors: tuple[str, ...] = ()
    """Which selectors (`quickstudy list selectors`); all if none is given."""
    options: tuple[str, ...] = ()
    """Options of the one selector that is given, names and values in turn: trees 200."""
    steps: tuple[str, ...] = ()
    """Feature steps to compute, with those that they require; all if none is given."""
    presolve: float = 0.0
    """Seconds that some algorithms may run before features are computed."""
    plan: bool = False
    """Find presolvers, turns of the best algorithms, and whether to select at all, on the known instances."""
    bootstrap: bool = False
    """Learn from a sample with repeats, as for the published table of Tornede et al. (2022); not with --plan."""
    seed: int = 0
    """Of whatever a kept selector draws; in measuring, the number of the fold is the seed."""
    keep: Path | None = None
    """Fit the one selector that is given to all instances, and store it in this file, NAME.safetensors."""
    rows: Path | None = None
    """Features of new instances, CSV or ARFF: say which algorithm to run on each."""
    out: Path | None = None
    """Write what is said to this file: measurements as JSON, choices as CSV."""


def run(argv: Sequence[str]) -> int:
    options = parse(Select, "select", argv)
    if options.out is not None:
        refuse_replacing(options.out)
    if options.place.suffix == STORED:
        return _choose(Selection.load(options.place), options)
    scenario = read_scenario(options.place)
    scenario = scenario.told_by(options.steps) if options.steps else scenario
    parts = _parts(options)
    if options.keep is None and options.rows is None:
        return _measure(parts, scenario, options)
    if len(parts) > 1:
        raise ConfigError("One selector is kept, and asked. Say which: --selectors NAME.")
    if options.keep is not None:
        _refuse_keeping(options.keep)
    selection = fit(parts[0], scenario, presolve=options.presolve, plan=options.plan, seed=options.seed)
    if options.keep is not None:
        selection.save(options.keep)
        tell(
            f"Fitted {selection.part.name!r} to {len(scenario.instances)} instances of {scenario.name}: {options.keep}"
        )
        if options.rows is None:
            tell(f"Next: {own.proposed('select', options.keep, '--rows', 'features.csv')}")
    return 0 if options.rows is None else _choose(selection, options)


def _parts(options: Select) -> list[registry.Part[Any]]:
    names = options.selectors or tuple(registry.selectors)
    for name in names:
        if name not in registry.selectors:
            raise unknown_name("selector", name, registry.selectors)
    if options.options and len(names) > 1:
        raise ConfigError("--options are of one selector. Say which: --selectors NAME.")
    return [registry.selectors.part(name, **pairs("--options", options.options)) for name in names]


def _refuse_keeping(path: Path) -> None:
    """Raise where a selector at `path` could not be told from a scenario, or would replace something else."""
    if path.suffix != STORED:
        raise ConfigError(f"A selector is stored in a file that ends in {STORED}, found --keep {path}. Rename it.")
    if path.exists():
        raise RunError(f"{path} exists already. Choose another file with --keep, or delete it first.")


def _measure(parts: list[registry.Part[Any]], scenario: Scenario, options: Select) -> int:
    folds, found = folds_of(scenario), list[Measured]()
    with Progress(f"Measuring selectors on {scenario.name}", len(folds) * len(parts)) as progress:
        for part in parts:

            def told(fold: FoldScore, name: str = part.name) -> None:
                progress.update(progress.done + 1, name)

            measured = measure(
                part, scenario, presolve=options.presolve, plan=options.plan, bootstrap=options.bootstrap, progress=told
            )
            found.append(measured)
    rows = [
        [one.selector, str(one.npar10), str(one.par10), f"{_mean([fold.finished for fold in one.folds]):.1%}",
         f"{_mean([fold.seconds for fold in one.folds]):.2g} s"]
        for one in found
    ]  # fmt: skip
    columns = ["selector", "nPAR10 (0 oracle, 1 single best)", "PAR10", "finished", "fitting, each fold"]
    table(_title(scenario, folds), columns, rows)
    for note in _notes(scenario, found[0]):
        tell(note)
    if options.out is not None:
        write_json(options.out, [one.to_json() for one in found])
        tell(f"Wrote {options.out}")
    return 0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _title(scenario: Scenario, folds: list[int]) -> str:
    limit = f"stopped after {scenario.cutoff:g} s" if scenario.timed else "no time measured"
    return (
        f"{scenario.name}: {len(scenario.instances)} instances, {len(scenario.algorithms)} algorithms, {limit}; mean "
        f"and 95 % interval over {len(folds)} folds"
    )


def _notes(scenario: Scenario, one: Measured) -> list[str]:
    """What the table does not say of the scenario."""
    notes = []
    if unsolved := int((~scenario.solvable).sum()):
        notes.append(f"No algorithm finishes {unsolved} of the instances: they are learned from, and not asked.")
    if blind := int(scenario.blind.sum()):
        notes.append(f"{blind} instances have no features, and are taken for the average instance.")
    if scenario.hopeless:
        notes.append(f"These algorithms finish nothing, and are never preferred: {first_of(scenario.hopeless)}.")
    if one.undefined:
        notes.append(f"The single best is the oracle in the folds {first_of(one.undefined)}: they have no nPAR10.")
    return notes


def _choose(selection: Selection, options: Select) -> int:
    if options.rows is None:
        raise ConfigError(f"{options.place} is a selector that was kept. Give features of new instances: --rows FILE.")
    rows = read_rows(options.rows, selection.features)
    chosen = selection.takes_turns(rows.x)
    if blind := [name for name, x in zip(rows.names, rows.x, strict=True) if not selection.blind and isnan(x).all()]:
        tell(f"Warning: no features are known of {first_of(blind)}: taken for the average instance.")
    before = "; ".join(f"{selection.algorithms[a]} for {seconds:g} s" for a, seconds in selection.schedule)
    if before:
        tell(f"First, on every instance, before its features are computed: {before}.")
    shares = ", ".join(f"{share:.0%}" for share in selection.turns)
    if len(selection.turns) > 1:
        tell(f"The algorithms of a row run one after another, for {shares} of the time that is left.")
    columns = ["algorithm", *(f"algorithm {i}" for i in range(2, len(selection.turns) + 1))]
    table_rows = [[name, *turns] for name, turns in zip(rows.names, chosen, strict=True)]
    if options.out is not None:
        write_csv(options.out, ["instance_id", *columns], table_rows)
        tell(f"Wrote {options.out}")
        return 0
    table("", ["instance", *columns], table_rows[:_SHOWN])
    if len(chosen) > _SHOWN:
        tell(f"… and {len(chosen) - _SHOWN} more; --out FILE.csv writes all.")
    return 0
