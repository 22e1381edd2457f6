"""The section of the page on selecting algorithms."""

from __future__ import annotations

from statistics import mean
from typing import Any

import torch

from quickstudy.evaluation.estimate import Estimate
from studies.selectors import BESIDE, CALLED
from studies.table import table

_CALLED = {
    "PAR10_algorithm_survival_forest": "R2S-PAR10",
    "Expectation_algorithm_survival_forest": "R2S-Exp",
    "satzilla-11": "SATzilla'11",
    "sunny": "SUNNY",
    "isac": "ISAC",
    "per_algorithm_RandomForestRegressor_regressor": "per-algorithm forest",
    "multiclass_algorithm_selector": "multiclass",
}
"""The published approaches, by their names in the literature."""


def _spread(values: list[float]) -> str:
    """A mean and its 95 % interval by Student, over scenarios."""
    found = Estimate.of_draws(torch.tensor(values, dtype=torch.float64))
    return f"{found.mean:+.3f} ± {found.ci95:.3f}"


def _means(found: dict[str, Any]) -> list[list[str]]:
    """A row for each approach, best first: where it is from, its mean, and how far it is from the best published."""
    names, figures = found["compared"]["scenarios"], found["figures"]
    theirs = {
        who: [rows[CALLED.get(name, name)] for name in names] for who, rows in found["references"].items()
    }  # fmt: skip
    whole = [title for title in figures if figures[title].keys() >= {*names}]
    ours = {title: [figures[title][name]["npar10"]["mean"] for name in names] for title in whole}
    best = min(theirs, key=lambda who: mean(theirs[who]))
    left = found["compared"]["gap left on the others"]
    rows = []
    for who, values in sorted((theirs | ours).items(), key=lambda row: mean(row[1])):
        label = f"**{who}**" if who == found["compared"]["chosen"] else _CALLED.get(who, who)
        apart = "" if who == best else _spread([v - b for v, b in zip(values, theirs[best], strict=True)])
        wins = sum(v < min(theirs[w][i] for w in theirs) for i, v in enumerate(values))
        rows.append([
            label, "published" if who in theirs else "here", f"{mean(values):.3f}", apart,
            "" if who in theirs else f"{wins} of {len(names)}", f"{left[who]:.3f}" if who in left else "",
        ])  # fmt: skip
    return rows


def _row(name: str, found: dict[str, Any], shown: list[str]) -> list[str]:
    """nPAR10 of one scenario: the best published, and settings with their intervals over folds."""
    other, figures = CALLED.get(name, name), found["figures"]
    there = {who: rows[other] for who, rows in found["references"].items() if other in rows}
    best = min(there, key=lambda who: there[who]) if there else ""
    cells = [figures[title][name]["npar10"] for title in shown]
    return [
        name, f"{there[best]:.3f} ({_CALLED[best]})" if best else "",
        *(f"{one['mean']:.3f} ± {one['ci95']:.3f}" for one in cells),
    ]  # fmt: skip


def _partly(found: dict[str, Any]) -> str:
    """Settings that were measured on smaller scenarios alone, beside the chosen one there."""
    best, figures = found["compared"]["chosen"], found["figures"]
    lines = []
    for title, rows in figures.items():
        if rows.keys() == figures[best].keys():
            continue
        names = [name for name in rows if name in found["compared"]["scenarios"]]
        ours, other = ([figures[which][name]["npar10"]["mean"] for name in names] for which in (title, best))
        apart = _spread([one - two for one, two in zip(ours, other, strict=True)])
        lines.append([title, str(len(names)), f"{mean(ours):.3f}", f"{mean(other):.3f}", apart])
    return table(["", "published scenarios", "mean nPAR10", best, "difference"], lines)


def _checked(found: dict[str, Any]) -> str:
    """How near the published figures are that were measured again."""
    lines = []
    for ours, apart in found["compared"]["reproduced, less published"].items():
        same = found["folds alike"][ours]
        worst = max(apart, key=lambda name: abs(apart[name]))
        lines.append(
            f"- {_CALLED[BESIDE[ours]]}, again: {_spread(list(apart.values()))} above the published figures over "
            f"{len(apart)} scenarios; {same['within']} of {same['of']} folds are within 0.01; farthest apart on "
            f"{worst}, by {apart[worst]:+.3f}."
        )
    return "\n".join(lines)


def selectors(found: dict[str, Any]) -> str:
    """Selectors beside the published ones."""
    told, figures = found["compared"], found["figures"]
    best, count = told["chosen"], len(told["scenarios"])
    bare = best.removesuffix(", planned")
    shown = [title for title in dict.fromkeys((best, bare, "single-best, planned")) if title in figures]
    tuning = [name for name in figures[best] if name not in told["scenarios"]]
    text = f"""## Selecting algorithms

nPAR10 (0 the oracle, 1 the single best algorithm), the mean over ten official folds, of scenarios of ASlib. The
published figures are those of Tornede et al. (2022, "Algorithm selection on a meta level"), over the {count} of their
scenarios that are measured here. One setting, in bold, was chosen by the gap to the oracle that it leaves on
{len(tuning)} other scenarios, which the published table does not have ({", ".join(tuning)}); so were the options
of `shared-forest` and of plans. It is the same everywhere. One seed, the number of the fold. Differences are paired,
with 95 % intervals by Student over scenarios; *best* counts the scenarios on which a row is better than all that is
published.

The published selectors choose one algorithm, and learned from a sample with repeats of the instances; rows "on a
sample" did, too. A *plan* is more than a choice: presolvers before the features, and turns of the best few after them,
found on the known instances. "single-best, planned" has a plan and no features: what plans bring without selecting.

"""
    columns = ["", "measured", "mean nPAR10", "less the best published", "best", "gap left on the others"]
    text += table(columns, _means(found))
    text += f"""
Measured on the smaller scenarios alone, beside what was chosen on the same:

{_partly(found)}
Measured again, as published:

{_checked(found)}

By scenario, with 95 % intervals over folds:

"""
    rows = [_row(name, found, shown) for name in (*told["scenarios"], *tuning)]
    text += table(["scenario", "best published of seven", *shown], rows)
    noisy = max(tuning, key=lambda name: figures[best][name]["npar10"]["ci95"])
    return text + (
        f"\nWhere the single best of a fold is all but the oracle, nPAR10 can be any number, as on {noisy}: settings "
        f"are chosen by the gap over all instances for that.\n"
    )
