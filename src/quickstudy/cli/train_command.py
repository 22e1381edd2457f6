"""`quickstudy train RECIPE`: meta-train, keep what validates best, write the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import tyro

import quickstudy as qs
from quickstudy.cli import own
from quickstudy.cli.parse import Places, find_run, parse, warn
from quickstudy.cli.recipe import ended, read, reported
from quickstudy.engine.distribute import join
from quickstudy.errors import ConfigError
from quickstudy.runs.run import Run
from quickstudy.storage.json import read_json
from quickstudy.terminal import complain, tell
from quickstudy.training.progress import duration
from quickstudy.training.splits import ON_TRAINING_CLASSES

_HELP = """usage: quickstudy train RECIPE [--tasks NAME] [--model NAME] [--learner NAME] [options]
       quickstudy train --resume RUN [--no-report]

RECIPE: a name from `quickstudy list recipes`, or a Python file with a function recipe().
`quickstudy train RECIPE --help` shows every option with the recipe's value:
  quickstudy train omniglot-protonet --iterations 2000 --learner.distance cosine
  quickstudy train omniglot-protonet --tasks folder --tasks.root ./photos --ways 5 --shots 5"""

_EXTRA = (
    ("out", str | None, None, "Folder of the run; runs/<name> if not given."),
    ("overwrite", bool, False, "Replace a run that is in that folder."),
    (
        "minutes",
        float | None,
        None,
        "End training after so many minutes, if it has not ended before; it can be resumed. What comes before and "
        "after training is not counted.",
    ),
    ("report", bool, True, "Write the report page after training (takes up to a minute)."),
)


@dataclass
class Resume:
    """Go on with a run that was stopped, to the same bits as if it never had been (on the same machine)."""

    run: tyro.conf.Positional[str]
    """A run: its folder, or its name under runs/."""
    minutes: float | None = None
    """End after so many minutes of training altogether, if it has not ended before. What comes before and after
    training is not counted."""
    iterations: int | None = None
    """Train so many steps altogether, more than the run was made for."""
    report: bool = True
    """Write the report page after training (takes up to a minute)."""
    tasks: Places = field(default_factory=Places)
    """Where the tasks' files lie today."""


def run(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_HELP)
        return 0
    if argv[0].split("=")[0] == "--resume":
        return _resume([*argv[0].split("=")[1:], *argv[1:]])
    if argv[0].startswith("-"):
        raise ConfigError(
            f"A recipe comes first, found the option {argv[0]!r}. Example: quickstudy train omniglot-protonet"
        )
    group = join()
    with group.together("set-up"):
        config, parsed, notes = read(argv[0], argv[1:], "train", _EXTRA)
    for note in notes if group.leads else ():
        complain(note)
    module, source = own.made_for(config)
    _tell_minutes(parsed.minutes, parsed.report)
    trained = qs.train(
        config, out=parsed.out, overwrite=parsed.overwrite, module=module, source=source, minutes=parsed.minutes
    )
    return _finish(trained, parsed.report)


def _resume(argv: Sequence[str]) -> int:
    options = parse(Resume, "train --resume", argv)
    with join().together("set-up"):
        stopped = Run(find_run(options.run))
        module, source = own.made_for(stopped.config)
        source = source or options.tasks.tasks(stopped.config)
    _tell_minutes(options.minutes, options.report)
    resumed = qs.resume(
        stopped.folder, module=module, source=source, iterations=options.iterations, minutes=options.minutes
    )
    return _finish(resumed, options.report)


def _tell_minutes(minutes: float | None, report: bool) -> None:
    """What of the command's time is not counted, said before it is spent."""
    if minutes is not None and minutes > 0 and join().leads:
        page = ", and the report page (--no-report leaves it out)" if report else ""
        tell(
            f"Training ends after {duration(60 * minutes)} at the latest. That does not count reading the data before, "
            f"nor a last validation after it, how far answers can be believed{page}."
        )


def _finish(done: Run, report: bool) -> int:
    if not join().leads:
        return 0
    kept = done.kept
    seconds = done.seconds
    why = (
        "the best on validation tasks"
        if kept.get("held_out", True)
        else f"the last: validation was {ON_TRAINING_CLASSES}"
    )
    tell(f"Trained {done.config.name} in {duration(seconds)}; kept the model of step {kept['step']}, {why}.")
    tasks = done.parts.source
    if done.spec.target.promises != "nothing":
        done.believed(quiet=False, fit=True)
    untested = bool(tasks.classes("train")) and not tasks.classes("test")
    if report and untested:
        tell("There is no report page, as no class is held out for testing.")
    elif report and reported(partial(qs.report, done, quiet=False)):
        warn(read_json(done.folder / "report.json")["warning"])
    if untested:
        ended(done.folder, "adapt", done.folder, "--support", "new", "--out", "my-model")
    else:
        ended(done.folder, "evaluate", done.folder)
    return 0
