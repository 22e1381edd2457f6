"""The latency of a new device from ten measurements, and the best cell for CIFAR-100 within a limit of latency.

The parts of `studies.nas` on devices; HELP's split of them (Lee et al. 2021).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from statistics import mean
from typing import Any

import numpy as np

from quickstudy.search import Devices, Plan, front, search_within
from quickstudy.search.limits import Found
from quickstudy.select.warm.predicted import Begun
from quickstudy.space import Array
from quickstudy.storage.json import read_json, write_json
from studies.cells_data import DATA, KEPT, accuracies, experienced, latencies, others, rich, seen

TRAIN = (
    "1080ti_1", "1080ti_32", "1080ti_256", "silver_4114", "silver_4210r", "samsung_a50", "pixel3", "essential_ph_1",
    "samsung_s7",
)  # fmt: skip
VALID = ("titanx_1", "titanx_32", "titanx_256", "gold_6240")
TEST = ("titan_rtx_256", "gold_6226", "fpga", "pixel2", "raspi4", "eyeriss")
SAMPLE, SEEDS, OFFERED = 10, 10, 1000
"""Measurements of a new device; designs, each of other candidates offered by chance, and how many those are."""
NOISE = (0.03, 0.1, 0.3, 1.0)
SHARES = (0.3, 0.5, 0.7)
"""Of the cells that keep a limit in validation."""
DEVICE, LIMITS = "gold_6226", (8.0, 11.0, 14.0)
PLANS = tuple(
    Plan(first=first, doubt=doubt, caution=caution)
    for first, doubt, caution in product((3, 4, 5, 6), (0.02, 0.03, 0.04, 0.06), (0.2, 0.3, 0.5))
)


@cache
def devices() -> Devices:
    return Devices.of(np.stack([latencies()[name] for name in TRAIN], 1), rich())


def ranks(values: Array) -> Array:
    """Average ranks, equal values sharing theirs."""
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[which.reshape(-1)])


def spearman(a: Array, b: Array) -> float:
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def plain_ridge(rows: Array, times: Array, table: Array, noise: float) -> Array:
    """The sceptic's: ridge on the training devices' logarithms as they are."""
    x, y = table[rows] - table[rows].mean(0), np.log(times)
    weights = np.linalg.solve(x @ x.T + noise * np.eye(len(rows)), y - y.mean())
    return np.asarray((table - table[rows].mean(0)) @ (x.T @ weights))


def predicted(device: str, rows: Any, noise: float, way: str) -> float:
    """Spearman's correlation over the cells that were not measured; faults of measuring are left out of both."""
    times = latencies()[device]
    known = ~np.isnan(times)
    kept = np.array([row for row in rows if known[row]])
    if way == "mean of the training devices":
        found = devices().table.mean(1)
    elif way == "ridge on the training devices as they are":
        found = plain_ridge(kept, times[kept], _as_they_are(), noise)
    else:
        found = devices().fit(kept.tolist(), times[kept].tolist(), noise).predict()
    known[kept] = False
    return spearman(found[known], times[known])


@cache
def _as_they_are() -> Array:
    columns = [np.log(latencies()[name]) for name in TRAIN]
    columns = [np.where(np.isnan(c), np.nanmedian(c), c) for c in columns]
    return np.stack([(c - c.mean()) / c.std() for c in columns], 1)


def samples(noise: float, designed: bool) -> list[Any]:
    found = []
    for seed in range(SEEDS):
        offered = np.random.default_rng(seed).choice(len(rich()), OFFERED, replace=False)
        found.append(devices().sample(SAMPLE, noise, offered.tolist()) if designed else offered[:SAMPLE])
    return found


WAYS = {
    "mean of the training devices": ("mean of the training devices", False),
    "ridge on the training devices as they are, ten by chance": ("ridge on the training devices as they are", False),
    "ours, ten by chance": ("ours", False),
    "ours, ten designed": ("ours", True),
}


def latency() -> dict[str, Any]:
    """Each way with the noise that is best on the validation devices: by device the values over seeds."""
    kept = KEPT / "latency.json"
    if kept.exists():
        found: dict[str, Any] = read_json(kept)
        return found
    found = {}
    for title, (way, designed) in WAYS.items():
        by_noise = {
            noise: mean(predicted(d, rows, noise, way) for d in VALID for rows in samples(noise, designed))
            for noise in NOISE
        }
        noise = max(by_noise, key=lambda one: by_noise[one])
        rows = {d: [predicted(d, rows, noise, way) for rows in samples(noise, designed)] for d in TEST}
        found[title] = {"noise": noise, "validation": by_noise[noise], "by validation": list(by_noise.items()),
                        "test": rows}  # fmt: skip
        print(title, noise, by_noise[noise], mean(mean(v) for v in rows.values()), flush=True)
    noise = found["ours, ten designed"]["noise"]
    full = {d: predicted(d, devices().sample(SAMPLE, noise), noise, "ours") for d in TEST}
    found["ours, ten designed"]["of all cells"] = full
    write_json(kept, found)
    return found


def within(device: str, limit: float, data: int, plan: Plan) -> tuple[Found, float]:
    """What is found, and by how many points of accuracy the best possible is better; infinite where nothing is."""
    strategy, begun = experienced(start=plan.trials + 1), experience(data)

    def expected(tried: dict[int, float]) -> Array:
        losses = 1 - np.array(list(tried.values()))
        return strategy.values(begun.pool, begun.likings, list(tried), losses, np.random.default_rng(0))

    times, column = latencies()[device], accuracies()[:, data]
    found = search_within(
        limit, devices(), expected, lambda row: float(column[row]) / 100, lambda row: float(times[row]), plan
    )
    return found, float(column[times <= limit].max()) - 100 * found.score


@cache
def experience(data: int) -> Begun:
    return experienced().prepare(seen(), replace(others(data), space=seen()), 0)


def validated(plan: Plan) -> list[float]:
    """Points lost on the validation devices, with three limits each, on the data sets that are not CIFAR-100; nothing
    found counts as 4 points."""
    kept = KEPT / f"plan-{plan.first}-{plan.doubt}-{plan.caution}.json"
    if not kept.exists():
        lost = [
            min(within(device, float(np.quantile(latencies()[device], share)), data, plan)[1], 4.0)
            for device in VALID
            for share in SHARES
            for data in (0, 2)
        ]
        write_json(kept, lost)
        print(plan, mean(lost), flush=True)
    return list(read_json(kept))


def limited() -> dict[str, Any]:
    """The plan that loses least in validation, on CIFAR-100 and the test device; the other plans beside it."""
    lost = {plan: mean(validated(plan)) for plan in PLANS}
    best = min(PLANS, key=lambda plan: lost[plan])
    column, times = accuracies(), latencies()[DEVICE]
    rows = {}
    for limit in LIMITS:
        found, short = within(DEVICE, limit, 1, best)
        kept = times <= limit
        control = np.flatnonzero(kept)[column[kept, 0].argmax()]
        rows[f"{limit:g}"] = {
            "accuracy": 100 * found.score, "best possible": float(column[kept, 1].max()), "short": short,
            "control": float(column[control, 1]), "queries": len(found.tried), "measurements": len(found.measured),
            "latency": float(times[found.best]) if found.best is not None else None,
            "queried beyond the limit": int(sum(times[row] > limit for row in found.tried)),
        }  # fmt: skip
    near = sorted(PLANS, key=lambda plan: lost[plan])[:10]
    return {
        "device": DEVICE,
        "plan": vars(best),
        "validation": lost[best],
        "rows": rows,
        "short by the ten best plans": [[within(DEVICE, limit, 1, plan)[1] for limit in LIMITS] for plan in near],
        "front": fronts(replace(best, trials=10)),
    }


def fronts(plan: Plan) -> dict[str, list[list[float]]]:
    """Latency and accuracy on CIFAR-100 of the best possible, of CIFAR-10's best, and of what is found, by limits."""
    column, times = accuracies(), latencies()[DEVICE]
    best = front(column[:, 1], times)
    other = front(column[:, 0], times)
    found = [within(DEVICE, limit, 1, plan)[0] for limit in np.arange(5.0, 18.5, 1.0)]
    return {
        "best possible": [[float(times[i]), float(column[i, 1])] for i in best],
        "CIFAR-10's best": [[float(times[i]), float(column[i, 1])] for i in other],
        "found": [[float(times[f.best]), 100 * f.score] for f in found if f.best is not None],
    }


__all__ = ["DATA", "latency", "limited"]
