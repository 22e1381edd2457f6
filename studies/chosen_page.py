"""The section of the page on choosing."""

from __future__ import annotations

from typing import Any

import torch

from quickstudy.evaluation.estimate import Estimate
from studies.table import table

_CALLED = {"chosen": "chosen", "recipe": "the recipe alone", "random": "by chance, no experience"}


def _share(mean: float, ci95: float) -> str:
    return f"{100 * mean:.1f} ± {100 * ci95:.1f}"


def _apart(one: dict[str, Any], other: dict[str, Any]) -> str:
    """The paired difference over the same test tasks."""
    gains = torch.tensor(one["values"]) - torch.tensor(other["values"])
    found = Estimate.of(gains)
    return f"{100 * found.mean:+.1f} ± {100 * found.ci95:.1f}"


def chosen(found: dict[str, Any]) -> str:
    rows = []
    for name, ways in found["found"].items():
        if "chosen" not in ways:
            continue
        own = ways["chosen"]
        others = [ways.get(way) for way in ("recipe", "random")]
        what = own["trained"]
        rows.append(
            [name, _share(own["mean"], own["ci95"])]
            + ["" if o is None else f"{_share(o['mean'], o['ci95'])} ({_apart(own, o)})" for o in others]
            + [f"{what['learner']['name']}, {what['model']['name']}, lr {what['lr']:.2g}"]
        )
    some = next(iter(next(iter(found["found"].values())).values()))
    head = ["tasks", *_CALLED.values(), "what was chosen"]
    return "\n".join(
        [
            "## Choosing",
            "",
            f"Accuracy (%) on {some['episodes']:,} test tasks after {some['minutes']:g} minutes of each way, one seed, "
            "and in brackets by how much what was chosen is ahead in the same tasks (95 % intervals over tasks). None "
            "of these sources is in the experience that choosing begins from. *By chance* is the same search without "
            "experience, its proposals drawn; all end with the same kind of training, on the same machine.",
            "",
            table(head, rows),
        ]
    )
