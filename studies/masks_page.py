"""The section of the page on masks."""

from __future__ import annotations

from typing import Any

from studies.masks import DOMAINS, HELD_OUT
from studies.table import percent, table

_HOME = ("1-shot", "5-shot", "1-shot, alone", "5-shot, alone")


def masks(found: dict[str, Any]) -> str:
    """What is found of a few masks, in the training's kind of pictures and in others."""
    rows = found["rows"]
    text = f"""## Masks

Semantic segmentation, at {found["size"]} x {found["size"]} pixels: emoji pasted on photographs at a random place and
size, each over another emoji that is background, or alone. About {HELD_OUT} concepts and a share of the photographs are
held out; a tenth of the concepts chooses λ of the regression and the step of training. The decoder was trained for
{found["steps"]} steps of 8 tasks on the emoji over others, on frozen features of SqueezeNet, {found["seconds"]:.0f}
seconds in all. Figures are the mean over tasks of the intersection over union of the concept, in %.

"""
    text += table(["method", *_HOME], [[name, *(percent(row[at]) for at in _HOME)] for name, row in rows.items()])
    text += """
The same networks, and the same settings, on pictures that are nothing like it, of which nothing was trained on: 5
images with masks, 5 to find it in. Of tiles each task is one kind of defect; of streets all eleven classes are told
apart at once. Nucleus and cytoplasm together are the cell.

"""
    columns = ["method", *DOMAINS, "mean"]
    lines = []
    for name, row in rows.items():
        mean = sum(row[where]["mean"] for where in DOMAINS) / len(DOMAINS)
        lines.append([name, *(percent(row[where]) for where in DOMAINS), f"{100 * mean:.1f}"])
    return text + table(columns, lines) + f"\nOver {found['episodes']} tasks each, seed {found['seed']}.\n"
