"""Beside AdaptShot, on the page of the studies: its section."""

from __future__ import annotations

from typing import Any

from studies.table import percent, table

_MEASURES = {
    "accuracy": ("accuracy", True),
    "auroc": ("AUROC of unknown inputs", True),
    "size": ("size of sets", False),
}
"""By which one is ahead of the other, and whether more is better."""


def adaptshot(found: dict[str, Any]) -> str:
    domains, level = found["domains"], f"{100 * found['coverage']:.0f} %"
    counts = sorted({row["rows"]["quickstudy"]["accuracy"]["count"] for row in domains.values()})
    text = f"""## Beside AdaptShot

[AdaptShot](https://pypi.org/project/adaptshot/) {found["version"]} classifies pictures from a few examples by class
means over the features of a frozen {found["encoder"]}, which comes with it, and says with each answer how sure it is,
whether the input is unknown, and a conformal set, all from the support set alone. Here both learn the same
{" to ".join(f"{count:,}" for count in counts)} tasks of each source, 5-way 5-shot, with the same features, which are
those that it makes itself. quickstudy has a head in closed form over them, and trust over validation classes; it was
given classes of the same source that AdaptShot has no use for: to whiten features, to choose the head, and to
calibrate. Without such classes it has none of these. Half of the inputs or more are of classes that
were not shown. AUROC is within a task: of quickstudy by `known`, of AdaptShot by its score for it, and by what of all
that it says told them apart best on these very tasks. Sets are to hold the class in {level} of cases.

"""
    columns = ["source", "", "accuracy", "AUROC of unknown inputs", "by its best", "coverage", "classes in a set",
               "false alarms", "unknown refused"]  # fmt: skip
    lines = []
    for name, row in domains.items():
        for who, part in row["rows"].items():
            best = _best(part)
            lines.append([
                name, who, percent(part["accuracy"]), _number(part["auroc"], 3),
                f"{_number(part[best], 3)} ({best.removeprefix('auroc by ')})" if best else "",
                percent(part["covered"]), _number(part["size"], 2), percent(part["alarms"]), percent(part["refused"]),
            ])  # fmt: skip
    text += table(columns, lines)
    text += (
        f"\nquickstudy refuses at a promised rate of {100 * found['alarms']:.0f} %, AdaptShot where it flags an input. "
        "Paired differences over tasks:\n\n"
    )
    for name, row in domains.items():
        text += f"- {name}: {', '.join(_verdict(row, key) for key in _MEASURES)}. "
        text += f"{_beside_best(row)} {_covered(row, found['coverage'])}\n"
    used = ", ".join(f"{name} {row['heads']['chosen']}" for name, row in domains.items())
    each = ", ".join(f"{name} `{row['commit']}`" for name, row in domains.items())
    text += f"\nThe head that did best on validation classes: {used}. At the commits: {each}.\n"
    return text + (_speed(found["speed"]) if "speed" in found else "")


def _verdict(row: dict[str, Any], key: str) -> str:
    """In words, whether quickstudy is ahead, as far as the interval of the paired difference tells."""
    (name, more), gain = _MEASURES[key], row["gains"][key]
    better = gain["mean"] if more else -gain["mean"]
    side = "ahead" if better > gain["ci95"] else "behind" if -better > gain["ci95"] else "no difference"
    shown = _number(gain, 2) if key == "size" else f"{percent(gain)} points"
    return f"{name} {side} ({shown})"


def _best(part: dict[str, Any]) -> str:
    """The score of AdaptShot that tells unknown inputs apart best; '' of those that have one score only."""
    return max((key for key in part if key.startswith("auroc by")), key=lambda key: part[key]["mean"], default="")


def _beside_best(row: dict[str, Any]) -> str:
    mine, other = row["rows"]["quickstudy"]["auroc"], row["rows"]["AdaptShot"]
    best = other[_best(other)]
    away, room = mine["mean"] - best["mean"], mine["ci95"] + best["ci95"]
    side = "above" if away > room else "below" if -away > room else "no different from"
    return f"The AUROC is {side} that of its best."


def _covered(row: dict[str, Any], level: float) -> str:
    mine, other = (abs(row["rows"][who]["covered"]["mean"] - level) for who in ("quickstudy", "AdaptShot"))
    away = f"{100 * mine:.1f} and {100 * other:.1f} points from what was promised"
    return f"Coverage is {away}: {'nearer' if mine < other else 'further off'}."


def _speed(found: dict[str, Any]) -> str:
    text = f"""
From files to answers, each in a process of its own on one thread: 25 photographs are learned, and 50 further ones asked
about, one at a time, and together where that can be asked. The encoder, by onnxruntime in both, is part of it.
*Model only* loads a model that was learned before, and does not learn. At commit `{found["commit"]}`.

"""
    return text + table(
        ["", "to learn a task, ms", "an answer, ms", "an answer of 50 together, ms", "peak memory, MB"],
        [
            [who, f"{row['adapt']:.0f}" if "adapt" in row else "", f"{row['one']:.1f}",
             "" if who.startswith("AdaptShot") else f"{row['together']:.1f}", f"{row['memory']:.0f}"]
            for who, row in found["rows"].items()
        ],
    )  # fmt: skip


def _number(found: dict[str, float], digits: int) -> str:
    return f"{found['mean']:.{digits}f} ± {found['ci95']:.{digits}f}"
