"""What the models in the package reach, for the studies' page."""

from __future__ import annotations

from typing import Any

from quickstudy.runs.card import shown
from studies.table import table


def shipped(found: dict[str, Any]) -> str:
    text = """## Models in the package

What [comes with the package](pretrained.md), on tasks that were never trained on. Omniglot's tasks are of characters of
all its evaluation alphabets, each image cut to its ink, five queries of each class. The icons are those of several icon
sets, which are no handwriting; a few are in two sets alike. That the tables' networks answer as in the study above was
looked at on splits of four of its sets.

"""
    rows = [
        [name, f"{model['bytes'] / 1e6:.2f} MB", one["what"], one.get("of", "the model"), shown(one), str(one["count"])]
        for name, model in found["models"].items()
        for one in model["figures"]
    ]
    worst = max(
        difference
        for model in found["models"].values()
        for difference in model.get("largest difference from the study", {}).values()
    )
    text += table(["model", "size", "tasks", "who", "accuracy, or R²", "over"], rows)
    return text + f"\nLargest difference of a split's figure from the stored one, which has five digits: {worst:.0e}.\n"
