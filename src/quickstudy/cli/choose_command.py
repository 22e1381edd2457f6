"""`quickstudy choose RECIPE`: which learner, network and numbers suit these tasks? Found by trying, and trained."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from quickstudy import choosing
from quickstudy.choosing.page import report
from quickstudy.cli import own
from quickstudy.cli.parse import parse, table
from quickstudy.cli.recipe import Resume, ended, reported, searched
from quickstudy.terminal import tell
from quickstudy.workers import Where

_HELP = """usage: quickstudy choose [RECIPE] [--tasks NAME] [--minutes 20] [options]
       quickstudy choose --resume FOLDER

RECIPE: what the search begins with, a name from `quickstudy list recipes`; if it is left out, the one for the tasks.
`quickstudy choose RECIPE --help` shows every option. Examples:
  quickstudy choose photos --tasks.root my-photos --minutes 20
  quickstudy choose --tasks text --tasks.path my.csv --workers 4"""

_EXTRA: tuple[tuple[str, Any, Any, str], ...] = (
    ("minutes", float, 20.0, "How long it may take; half of it goes to trials, the rest to training the best one."),
    ("out", Path | None, None, "Folder of the search; runs/choose-<name> if not given."),
    ("where", Where, "processes", "Where trials run: 'loop' (one after another), 'processes' or 'ray'."),
    ("workers", int | None, None, "Trials at once; as many as there are processors if not given."),
    ("strategy", str, "portfolio-gp", "How new trials are proposed: a name from `quickstudy list strategies`."),
    ("bank", Path | None, None, "A folder of experience of your own, which is begun from and added to."),
    ("report", bool, True, "Write the report page."),
)
_SHOWN = 10


def run(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_HELP)
        return 0
    if argv[0].split("=")[0] == "--resume":
        return _resume([*argv[0].split("=")[1:], *argv[1:]])
    config, parsed, source = searched(argv, "choose", _EXTRA)
    found = choosing.choose(
        config, minutes=parsed.minutes, out=parsed.out, source=source, where=parsed.where, workers=parsed.workers,
        strategy=parsed.strategy, bank=parsed.bank, seed=config.seed,
    )  # fmt: skip
    return _finish(found, parsed.report)


def _resume(argv: Sequence[str]) -> int:
    options = parse(Resume, "choose --resume", argv)
    stopped = choosing.Chosen(options.folder)
    _, source = own.made_for(stopped.config)
    return _finish(choosing.resume(options.folder, source=source), options.report)


def _finish(found: choosing.Chosen, with_report: bool) -> int:
    metric = found.metric
    rows = [
        [str(place), choosing.told(t.point), metric.interval(t.mean, t.ci95), f"{found.record.trained(t):.0f} s"]
        for place, t in enumerate(found.ranking[:_SHOWN], 1)
    ]
    table("", ["", "tried", f"{metric.label} on validation tasks", "trained"], rows)
    best, test = found.best, found.test
    tell(f"Best: {choosing.told(best['point'])}")
    if test is not None:
        tell(f"On {test.count} test tasks, which chose nothing: {metric.label} {metric.interval(test.mean, test.ci95)}")
    tell(found.advice)
    if with_report:
        reported(partial(report, found))
    ended(found.run.folder, "adapt", found.run.folder, "--support", "new", "--out", "my-model")
    return 0
