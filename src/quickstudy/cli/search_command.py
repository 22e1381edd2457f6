"""`quickstudy search RECIPE --under 3ms`: a network that answers in time, trained."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from quickstudy.cli import own
from quickstudy.cli.parse import parse, table
from quickstudy.cli.recipe import Resume, ended, reported, searched
from quickstudy.errors import ConfigError
from quickstudy.search.architecture import resume, search
from quickstudy.search.found import Found, told
from quickstudy.search.page import report
from quickstudy.terminal import complain, tell
from quickstudy.training.config import RunConfig

_HELP = """usage: quickstudy search [RECIPE] [--tasks NAME] [--under 3ms] [--minutes 20] [options]
       quickstudy search --resume FOLDER

RECIPE: whose tasks, learner and numbers are taken; if it is left out, the one for the tasks.
`quickstudy search RECIPE --help` shows every option. Examples:
  quickstudy search photos --tasks.root my-photos --under 3ms
  quickstudy search --tasks folder --tasks.root my-photos"""

_EXTRA: tuple[tuple[str, Any, Any, str], ...] = (
    ("under", str, "", "What the network may take for one example on one thread of this machine, such as 3ms."),
    ("minutes", float, 20.0, "How long it may take altogether."),
    ("out", Path | None, None, "Folder of the search; runs/search-<name> if not given."),
    ("strategy", str, "evolution", "How networks are proposed: a name from `quickstudy list strategies`."),
    ("report", bool, True, "Write the report page."),
)


def milliseconds(text: str) -> float | None:
    """The number in '3ms', '3 ms' or '0.5s'; None where there is none to read."""
    if not text:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s)?", text.strip())
    if not found:
        raise ConfigError(f"--under is {text!r}, expected milliseconds such as 3ms. Correct it.")
    return float(found[1]) * (1000 if found[2] == "s" else 1)


def run(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_HELP)
        return 0
    if argv[0].split("=")[0] == "--resume":
        return _resume([*argv[0].split("=")[1:], *argv[1:]])
    config, parsed, source = searched(argv, "search", _EXTRA)
    found = search(
        config, under=milliseconds(parsed.under), minutes=parsed.minutes, out=parsed.out, source=source,
        strategy=parsed.strategy, seed=config.seed,
    )  # fmt: skip
    return _finish(found, parsed.report)


def _resume(argv: Sequence[str]) -> int:
    options = parse(Resume, "search --resume", argv)
    _, source = own.made_for(RunConfig.from_json(Found(options.folder).state["config"]))
    return _finish(resume(options.folder, source=source), options.report)


def _finish(found: Found, with_report: bool) -> int:
    state, metric = found.state, found.metric
    rows = [
        [f"{c['milliseconds']:.2f}", metric.number(c["score"] or 0.0), f"{c['parameters']:,}", told(c["point"])]
        for c in found.front
    ]
    table("", ["ms", f"{metric.label} when asked", "parameters", "network"], rows)
    options = [word for n, v in state["chosen"].items() for word in _option(n, v)]
    tell(f"Found: {shlex.join(['--model', found.model['name'], *options])}")
    recipe = state.get("recipe")
    beside = "" if recipe is None else f"; the recipe's network takes {recipe['milliseconds']:.2f} ms"
    tell(f"It takes {found.milliseconds:.2f} ms for one example{beside}.")
    if state["under"] is not None and found.milliseconds > state["under"]:
        complain(
            f"Measured again at the end it takes longer than {state['under']:g} ms: the machine was busy at one of the "
            "two times. Search again with a lower limit if that matters."
        )
    if (test := found.test) is not None:
        tell(f"On {test.count} test tasks: {metric.label} {metric.interval(test.mean, test.ci95)}")
    if with_report:
        reported(partial(report, found))
    ended(found.run.folder, "adapt", found.run.folder, "--support", "new", "--out", "my-model")
    return 0


def _option(name: str, value: Any) -> list[str]:
    """An option of the model as it is typed."""
    if isinstance(value, bool):
        return [f"--model.{'' if value else 'no-'}{name.replace('_', '-')}"]
    return [f"--model.{name.replace('_', '-')}", str(value)]
