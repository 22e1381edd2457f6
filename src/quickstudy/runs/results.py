"""The results page, made of the stored results: `python -m quickstudy.runs.results` writes docs/results.md."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from quickstudy.errors import fitting_together
from quickstudy.evaluation.result import Result
from quickstudy.storage.atomic import write_text
from quickstudy.storage.json import read_json
from quickstudy.training.progress import duration
from quickstudy.training.protocol import Protocol

HEAD = """<!-- Made by `python -m quickstudy.runs.results` of results/*.json. Do not edit. -->

# Results

Every number here was measured by this code on tasks of the split named in the recipe, after training with one seed, and
is given with its 95 % confidence interval over the tasks (not over seeds). *Untrained* is the same network with its
initial weights, adapted in the same way, over at most 200 tasks unless a note says otherwise. *Target* is the published
figure, or what the recipe means to reach; it is called reached only if the measured mean itself reaches it. Training
times are wall-clock times, on machines that were doing other work as well.
"""
_COLUMNS = ("protocol", "metric", "measured", "tasks", "published", "target", "reached", "untrained")


class _Training(TypedDict):
    seconds: float | None
    kept_step: int
    commit: str
    machine: str


class _Config(TypedDict):
    iterations: int
    seed: int


class _Measured(TypedDict):
    protocol: Protocol
    result: Result


class _Baseline(TypedDict):
    protocol: str
    result: Result
    inner_lr: NotRequired[float | None]


class Stored(TypedDict):
    """What `quickstudy reproduce` writes."""

    recipe: str
    config: _Config
    training: _Training
    commit: str
    date: str
    protocols: list[_Measured]
    baselines: NotRequired[list[_Baseline]]
    notes: NotRequired[list[str]]


def page(folder: Path) -> str:
    """The Markdown page of all results/*.json in `folder`, in the order of their names."""
    files = sorted(folder.glob("*.json"))
    if not files:
        return HEAD + "\nThere are no stored results yet.\n"
    parts = [HEAD]
    for path in files:
        stored = read_json(path, Stored)
        with fitting_together(f"{path} cannot be shown", "Measure it again: quickstudy reproduce RECIPE."):
            parts.append(_recipe(stored))
    return "".join(parts)


def _recipe(stored: dict[str, Any]) -> str:
    baselines = {entry["protocol"]: Result.from_json(entry["result"]) for entry in stored.get("baselines") or ()}
    measured = [(Protocol.from_json(e["protocol"]), Result.from_json(e["result"])) for e in stored["protocols"]]
    rows = [_row(protocol, result, baselines.get(protocol.name)) for protocol, result in measured]
    lines = ["", f"## {stored['recipe']}", "", _line(_COLUMNS), _line(["---"] * len(_COLUMNS)), *map(_line, rows), ""]
    training, config = stored["training"], stored["config"]
    seconds = training["seconds"]
    took = "" if seconds is None else f" in {duration(seconds)}"
    lines += [
        f"Trained {config['iterations']:,} steps{took} at commit `{training['commit'] or 'unknown'}`, kept step "
        f"{training['kept_step']:,}, seed {config['seed']}; {training['machine']}. Measured at commit "
        f"`{stored['commit'] or 'unknown'}`, {stored['date']}.",
    ]
    if any(entry["result"]["transductive"] for entry in stored["protocols"]):
        lines += ["", "**Transductive:** a prediction may use the other queries of its task."]
    for protocol, result in measured:
        if result.warning:
            lines += ["", f"**Warning** ({protocol.name}): {result.warning}"]
    for entry in stored.get("baselines") or ():
        if entry.get("inner_lr") is not None:
            lines += [
                "",
                f"Note: the untrained network was given the best of several inner rates on validation tasks, "
                f"{entry['inner_lr']:g}, and measured over all tasks.",
            ]
    for note in stored.get("notes") or ():
        lines += ["", f"Note: {note}"]
    return "\n".join(lines) + "\n"


def _line(cells: Any) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _row(protocol: Protocol, result: Result, baseline: Result | None) -> list[str]:
    """The cells of one protocol; what is not known is left empty."""
    label = "error" if protocol.error else result.figure.label
    metric = f"{label}, %" if result.figure.percent else label
    published = "" if protocol.published is None else f"{protocol.published:g}"
    if published and protocol.source:
        published += f" ({protocol.source})"
    return [
        protocol.name,
        metric,
        f"**{shown(protocol, result)}**",
        f"{result.episodes:,}",
        published,
        target(protocol),
        verdict(protocol, result, baseline),
        "" if baseline is None else shown(protocol, baseline),
    ]


def value(protocol: Protocol, result: Result) -> tuple[float, float]:
    """Mean and half-width in the units of the table: in %, as an error rate (100 − it), or as it is."""
    scale = result.figure.scale
    mean = scale * result.mean
    return (scale - mean if protocol.error else mean), scale * result.ci95


def shown(protocol: Protocol, result: Result) -> str:
    """'98.91 ± 0.12' in %, or '0.352 ± 0.014'."""
    mean, ci95 = value(protocol, result)
    if not math.isfinite(mean):
        return "diverged"
    digits = 2 if result.figure.percent else 3
    return f"{mean:.{digits}f} ± {ci95:.{digits}f}"


def target(protocol: Protocol) -> str:
    """What is to be reached: a figure, or points above the untrained network."""
    if protocol.gain is not None:
        return f"{protocol.gain:g} better than untrained"
    return "" if protocol.target is None else f"{protocol.target:g}"


def verdict(protocol: Protocol, result: Result, baseline: Result | None = None) -> str:
    """'yes', 'no: 0.31 short', with 'within the interval' if the target is not ruled out; '' without a target."""
    mean, ci95 = value(protocol, result)
    lower_is_better = protocol.error or not result.figure.higher_is_better
    if protocol.gain is not None and baseline is not None:
        start = value(protocol, baseline)[0]
        aim = start - protocol.gain if lower_is_better else start + protocol.gain
    elif protocol.target is not None:
        aim = protocol.target
    else:
        return ""
    if not math.isfinite(mean):
        return "no: diverged"
    short = mean - aim if lower_is_better else aim - mean
    if short <= 0:
        return "yes"
    digits = 2 if result.figure.percent else 3
    inside = ", within the interval" if short <= ci95 else ""
    return f"no: {short:.{digits}f} short{inside}"


def main(arguments: list[str]) -> None:
    """Write the page. arguments: the folder of results and the file, 'results' and 'docs/results.md' if not given."""
    folder, out = (Path(a) for a in (arguments or ["results", "docs/results.md"]))
    write_text(out, page(folder))
    print(out)


if __name__ == "__main__":
    main(sys.argv[1:])
