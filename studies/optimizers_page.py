"""The section on learned optimizers, and its curves."""

from __future__ import annotations

from typing import Any

from studies.table import table

TITLES = {"quadratics": "Quadratics in ten dimensions", "classifiers": "Networks twice as wide as in training"}


def number(found: dict[str, float]) -> str:
    return f"{found['mean']:.3g} ± {found['ci95']:.2g}"


def optimizers(found: dict[str, Any]) -> str:
    low, high = found["rates"]
    text = f"""## Learned optimizers

An optimizer that is a small network ([how](learners.md#learned-optimizers)), beside four of torch, each with the best
rate of a grid between {low:g} and {high:.2g}. Rates, and when to stop training the learned one, are chosen on other
functions, by mean loss after {found["steps"]} steps. *Above learned* is the mean difference from the learned optimizer
on the same functions. A run that is not finite to its end counts as if it had never moved.
"""
    for name, contest in found["contests"].items():
        training, settings = contest["training"], contest["settings"]
        text += (
            f"\n### {TITLES[name]}\n\n`{settings['rule']}` trained on `{contest['trained on']}` for "
            f"{training['iterations']} outer steps ({training['seconds']:.0f} s), measured on "
            f"`{contest['measured on']}`: loss after {found['steps']} steps; {contest['rates']} rates, "
            f"{contest['validation']} functions to choose on.\n\n"
        )
        rows, counts = contest["rows"], [k for k in contest["rows"]["learned"] if k.endswith("functions")]
        columns = [f"{count}: {what}" for count in counts for what in ("loss", "log₁₀ loss", "above learned")]
        text += table(
            ["", "rate", *columns],
            [
                [
                    label,
                    "" if row["rate"] is None else f"{row['rate']:.3g}",
                    *(
                        "" if row[count][what] is None else number(row[count][what])
                        for count in counts
                        for what in ("final", "log10 final", "above learned")
                    ),
                ]
                for label, row in rows.items()
            ],
        )
        broken = {label: row[counts[-1]]["not finite"] for label, row in rows.items() if row[counts[-1]]["not finite"]}
        if broken:
            words = ", ".join(f"{count} of {label}" for label, count in broken.items())
            text += f"\nRuns that were not finite, of the {counts[-1]}: {words}.\n"
        text += "\n" + verdicts(rows, counts) + f"\n![Loss over steps](optimizers-{name}.svg)\n"
    return text


def verdicts(rows: dict[str, Any], counts: list[str]) -> str:
    """In words: is the learned optimizer below the others, and do the intervals overlap?"""
    lines = []
    for count in counts:
        for what, label in (("final", "mean loss"), ("log10 final", "mean log₁₀ loss")):
            mine, words = rows["learned"][count][what], []
            for other in (name for name in rows if name != "learned"):
                theirs = rows[other][count][what]
                apart = abs(mine["mean"] - theirs["mean"]) > mine["ci95"] + theirs["ci95"]
                side = "below" if mine["mean"] < theirs["mean"] else "above"
                words.append(f"{side} {other}{'' if apart else ' (intervals overlap)'}")
            lines.append(f"- {count}, {label}: learned is " + ", ".join(words) + ".\n")
    return "".join(lines)


def curves(found: dict[str, Any]) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """Of each picture, its lines: steps and mean losses."""
    return {
        f"optimizers-{name}": {
            label: ([float(step) for step in range(len(row["curve"]))], row["curve"])
            for label, row in contest["rows"].items()
        }
        for name, contest in found["contests"].items()
    }
