"""The sections of learning without labels, and of choosing tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean
from typing import Any

import torch

from quickstudy.evaluation.estimate import Estimate
from studies.table import percent, table


def unlabelled(found: dict[str, Any]) -> str:
    """Omniglot without the labels of training characters."""
    rows = [
        [name, *(percent(row[key]) for key in ("5-way val", "20-way val", "5-way test", "20-way test"))]
        for name, row in found["rows"].items()
    ]
    pairs = {name: [100 * row[f"{ways}-way val"]["mean"] for ways in (5, 20)] for name, row in found["tried"].items()}
    tried = ", ".join(f"{name} {five:.1f} / {twenty:.1f}" for name, (five, twenty) in pairs.items())
    text = f"""## Omniglot without labels

The {found["drawings"]:,} drawings of the training characters (the split of Vinyals et al. 2016), without their labels:
a prototypical network with four convolutions of {found["width"]} filters, {found["steps"]} steps, each on one task of
{found["ways"]} ways and one shot. One-shot accuracy in % on characters that are new; turned characters are classes of
their own in training, where mirrored ones are too, and in tests. How far drawings are distorted was chosen on
validation characters after {found["tried steps"]} steps (5 / 20 ways: {tried}).
Clusters are of the features of the network of the row above them, and a new network is trained on them. Published, with
MAML: CACTUs 68.8 and 48.1, UMTRA 83.8 and 74.3 (Hsu, Levine & Finn 2019; Khodadadeh et al. 2019).

"""
    heads = ["training tasks", "5-way, validation", "20-way, validation", "5-way, test", "20-way, test"]
    return text + table(heads, rows) + f"\nSeed {found['seed']}.\n"


def choosing(found: dict[str, Any]) -> str:
    """Ways of choosing training tasks."""
    names = ("traffic_signs", "cifar10", "steel_defects")
    rows = []
    for how, row in found["rows"].items():
        less = row.get("less uniform")
        rows.append([
            how, *(percent(row[name]) for name in names), percent(row["mean"]),
            "" if less is None else f"{100 * less['mean']:+.2f} ± {100 * less['ci95']:.2f}",
            "" if less is None else ", ".join(f"{100 * one:+.1f}" for one in row["by seed"]),
            ", ".join(f"{name} {100 * mean(one[name] for one in row['shares']):.0f}" for name in row["shares"][0]),
        ])  # fmt: skip
    text = f"""## Which tasks to train on

A small prototypical network from scratch, {found["steps"]} steps of two 5-way 1-shot tasks, each of one of four
domains; what comes more often is a domain whose tasks have a high loss, or are in steps whose gradient agrees with
that of validation tasks (other classes of these domains), by moving averages or by a bandit. 5-way 5-shot accuracy
in % on three domains that are new; no track of a traffic sign is in both support and query. The difference is paired
by task and seed.

"""
    above = [how for how, row in found["rows"].items() if "by seed" in row and over_seeds(row["by seed"]) > 0]
    verdict = (
        f"Above uniform choice beyond the spread over seeds: {', '.join(above)}."
        if above
        else "The intervals are over tasks; over seeds, no way of choosing is above uniform choice beyond chance "
        "(95 %, Student's t)."
    )
    heads = ["choose", "traffic signs", "CIFAR-10", "steel", "mean", "less uniform", "by seed", "share of tasks, %"]
    count = found["episodes"]
    return text + table(heads, rows) + f"\n{found['seeds']} seeds, {count} tasks of each domain and seed. {verdict}\n"


def over_seeds(values: Sequence[float]) -> float:
    """The lower end of the 95 % interval of a mean over few seeds, by Student's t; −∞ for one."""
    if len(values) < 2:
        return -math.inf
    found = Estimate.of_draws(torch.tensor(values, dtype=torch.float64))
    return found.mean - found.ci95
