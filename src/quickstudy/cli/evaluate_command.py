"""`quickstudy evaluate RUN`: accuracy or error on tasks the run has never seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from quickstudy.cli.agents import compared
from quickstudy.cli.own import proposed
from quickstudy.cli.parse import Places, open_run, parse, table, warn
from quickstudy.errors import ConfigError, DataError
from quickstudy.evaluation.result import Result
from quickstudy.learners import IterativeLearner
from quickstudy.runs.run import Run
from quickstudy.storage.folders import refuse_replacing
from quickstudy.storage.json import write_json
from quickstudy.tasks.base import held_out
from quickstudy.terminal import tell
from quickstudy.trust.checked import ITERATIVE, TASKS, AnyChecked

_PAGE = "docs/trust.md"


@dataclass
class Evaluate:
    """Adapt to many unseen tasks and report the mean with its 95 % confidence interval."""

    run: tyro.conf.Positional[str]
    """A run: its folder, or its name under runs/."""
    ways: int | None = None
    """Classes per task; the run's own if not given."""
    shots: int | None = None
    """Support examples per class."""
    queries: int | None = None
    """Query examples per class."""
    episodes: int = 1000
    """Number of tasks; of each domain, where there are several."""
    split: str = "test"
    """Which tasks: train, val or test."""
    steps: int | None = None
    """Inner steps; runs on tasks of numbers report 0, 1, 5 and 10 if not given."""
    seed: int | None = None
    """Another stream of tasks."""
    untrained: bool = False
    """Measure the untrained network beside it."""
    device: str | None = None
    """Another device than the run's."""
    trust: int | None = None
    """Test tasks on which estimates, sets, intervals and refusals of unknown inputs are held against the truth: 200 if
    not given, or as many as --episodes, where these are fewer; 0 for none."""
    omniglot_runs: Annotated[Path | None, tyro.conf.arg(name="omniglot-runs")] = None
    """A zip of the official Omniglot one-shot runs: prints the mean error over runs instead."""
    tasks: Places = field(default_factory=Places)
    """Where the tasks' files lie today."""
    out: Path | None = None
    """Also write the result, with the value of every task, to this JSON file."""


def run(argv: Sequence[str]) -> int:
    options = parse(Evaluate, "evaluate", argv)
    if options.out is not None:
        refuse_replacing(options.out)
    done = open_run(options.run, options.device, options.tasks)
    if options.omniglot_runs is not None:
        return _official_runs(done, options)
    if options.episodes < 2:
        raise ConfigError(f"--episodes must be at least 2 for a confidence interval, found {options.episodes}.")
    learner = done.parts.engine.learner
    target = learner.spec.target
    several = options.steps is None and isinstance(learner, IterativeLearner)
    all_steps = target.steps_shown if several else (options.steps,)
    rows, results, measured, warning, blind = [], [], [], "", None
    for steps in all_steps:
        for label, params in [("trained", None), *([("untrained", done.untrained())] if options.untrained else [])]:
            result = done.evaluate(
                ways=options.ways,
                shots=options.shots,
                queries=options.queries,
                episodes=options.episodes,
                split=options.split,
                steps=steps,
                seed=options.seed,
                params=params,
                compare_supports=params is None,
                quiet=False,
            )
            warning = result.warning or warning
            blind = result.baseline or blind
            measured.append((label, result))
            results.append({"network": label, **result.to_json()})
            task = _size(result, done.parts.source.balanced)
            moves = "" if result.steps is None else f", {result.steps} inner steps"
            note = " (transductive)" if result.transductive else ""
            rows += [
                [name, label, result.figure.label, result.figure.interval(one.mean, one.ci95), str(one.count)]
                for name, one in result.domains.items()
            ]
            task = f"mean of {len(result.domains)} domains, {task}" if result.domains else task
            told = task + moves
            rows.append([told, label, result.figure.label, str(result) + note, str(result.episodes)])
            counts = [str(one.count) for one in result.further.values()]
            rows += [[told, label, *said, count] for said, count in zip(result.also().items(), counts, strict=True)]
            rows += [[told, label, name, str(figure), str(figure.count)] for name, figure in result.figures.items()]
    if any(one.references for _, one in measured):
        compared(f"{done.config.name}, {options.split} tasks, seed {result.seed}", measured)
        if not held_out(done.parts.source, options.split) and options.split != "train":
            tell("There are so few tasks that all of them were met in training.")
        return _written(options, results)
    believed = _believed(done, options)
    if believed is not None:
        next(one for one in results if one["network"] == "trained")["trust"] = believed.to_json()
    if blind is not None:
        metric = result.figure
        rows.append([task, target.guess, metric.label, metric.interval(blind.mean, blind.ci95), str(blind.count)])
    table(
        f"{done.config.name}, {options.split} tasks, seed {results[0]['seed']}",
        ["task", "network", "metric", "mean ± 95 % CI", "tasks"],
        rows,
    )
    warn(warning)
    if believed is not None:
        _tell(believed, done)
    return _written(options, results)


def _tell(believed: AnyChecked, done: Run) -> None:
    """How far answers can be believed, in a few rows; all of it is in --out and in the report."""
    table(
        f"How far its answers can be believed, tried on {believed.tasks} test tasks",
        ["how often", "promised", "found ± 95 % CI"],
        believed.outcomes(),
    )
    more = proposed("report", done.folder)
    tell(f"All figures: --out FILE, or {more}. What they mean: {_PAGE}")


def _believed(done: Run, options: Evaluate) -> AnyChecked | None:
    """What becomes of what the run's models promise, on test tasks; None, with a word, where nothing is."""
    asked = options.trust is None or options.trust > 0
    if not asked or options.split != "test" or options.steps is not None or done.spec.target.promises == "nothing":
        return None
    if options.trust is None and not done.spec.target.calibrates and done.believed()[0] is None:
        if done.kept.get("held_out", True) and not done.learner.transductive:  # else nothing could be fitted
            tell(f"How far answers can be believed was not fitted yet: --trust {ITERATIVE} does that, and tries it.")
        return None
    most = ITERATIVE if isinstance(done.learner, IterativeLearner) else TASKS
    tasks = min(most, options.episodes) if options.trust is None else options.trust
    try:
        return done.check_trust(ways=options.ways, shots=options.shots, tasks=tasks, seed=options.seed, quiet=False)
    except (ConfigError, DataError) as error:
        if options.trust is not None:
            raise
        tell(f"How far answers can be believed is not told. {error}")
        return None


def _written(options: Evaluate, results: Sequence[dict[str, Any]]) -> int:
    """The end of the command, with the results in a file if that is asked for."""
    if options.out is not None:
        write_json(options.out, results)
        tell(f"Wrote {options.out}")
    return 0


def _size(result: Result, balanced: bool) -> str:
    """'5-way 1-shot', or, where shots count all examples of a task, 'up to 10-way, 64 examples'."""
    if not result.ways:
        return f"{result.shots}-shot"
    return f"{result.ways}-way {result.shots}-shot" if balanced else f"up to {result.ways}-way, {result.shots} examples"


def _official_runs(done: Run, options: Evaluate) -> int:
    from quickstudy.runs.official import official_runs

    assert options.omniglot_runs is not None
    names, result = official_runs(done, options.omniglot_runs)
    table(
        f"{done.config.name}, official one-shot runs",
        ["run", "error"],
        [[name, f"{100 * (1 - value):.1f} %"] for name, value in zip(names, result.values, strict=True)],
    )
    note = " (transductive)" if result.transductive else ""
    tell(f"Mean error over {len(names)} runs: {100 * (1 - result.mean):.1f} ± {100 * result.ci95:.1f} %{note}")
    if options.out is not None:
        write_json(options.out, {"runs": names, **result.to_json()})
    return 0
