"""Searches for hyperparameters that start from experience with other data sets, on the surrogates of YAHPO Gym.

Each data set in turn is the new one, and all others are experience. *Of a pool*: the points of one draw, which all data
sets were tried at, are also those to choose from; regret is 0 at the best of them and 1 at the worst. *Of the space*:
all of it may be asked for; experience is a draw of points; regret is 0 at the best that a long search or any of the
searches found, and 1 at the least value that the statistics name. Options of strategies are chosen on rpart, which is
measured for nothing else. Needs the surrogates under $QUICKSTUDY_DATA/selection. What is measured is kept, so a stopped
study goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from quickstudy.registry import strategies
from quickstudy.select import warm
from quickstudy.select.warm.acquire import near
from quickstudy.space import key
from quickstudy.storage.json import read_json, write_json
from studies.common import interval, store
from studies.warm_tasks import LCBENCH, RPART, SCENARIOS, XGBOOST, Floats, Scenario

KEPT = Path("runs/warm")
_LEAST = 1e-4
"""Regret below which there is no difference worth choosing by."""
TRIALS, BUDGETS = 50, (5, 10, 25, 50)
POOL, EXPERIENCE = 1000, 500
"""Points of a pool, and points that past data sets were tried at where all of the space may be asked for."""
FOLDS = 5
"""Where a network is trained over past tasks, it is so for a fifth of the data sets at once, without any of them."""
TO_REACH = (0.015, 0.009, 0.004, 0.002)
BY_HAND = {
    "random": (0.154, 0.141, 0.079, 0.074), "gp": (0.184, 0.085, 0.023, 0.007),
    "portfolio": (0.017, 0.011, 0.007, 0.007), "portfolio-gp": (0.017, 0.012, 0.006, 0.002),
}  # fmt: skip

_TRIED: dict[str, list[dict[str, Any]]] = {
    "gp": [{"scale": "bent"}, {"scale": "plain"}],
    "portfolio-gp": [{"start": 5}, {"start": 10}, {"start": 20}],
    "surfaces": [{"start": 1}, {"start": 3}, {"start": 5}, {"start": 3, "scale": "plain"}],
}
"""Options that are compared on rpart."""
_GIVEN: dict[str, dict[str, Any]] = {"meta": {"iterations": 1000}}
"""Options that are what they are for want of time."""


class Cell(NamedTuple):
    """One strategy on all data sets of a scenario, or every `step`-th, with one seed. place: pool or space."""

    scenario: str
    place: str
    strategy: str
    options: dict[str, Any]
    seed: int
    step: int = 1

    @property
    def kept(self) -> Path:
        told = "".join(f"-{name}-{value}" for name, value in sorted(self.options.items()))
        every = f"-every-{self.step}" if self.step > 1 else ""
        return KEPT / f"{self.scenario}-{self.place}-{self.strategy}{told}-{self.seed}{every}.json"


def measured(cell: Cell) -> dict[str, list[float]]:
    """The loss (the surrogate's regret by the statistics) of each trial of a search, by data set."""
    if cell.kept.exists():
        found: dict[str, list[float]] = read_json(cell.kept)
        return found
    scenario = SCENARIOS[cell.scenario]
    sets = scenario.sets[:: cell.step]
    points = scenario.space.draw(POOL if cell.place == "pool" else EXPERIENCE, np.random.default_rng([cell.seed, 7]))
    past = warm.Experience(scenario.space)
    known = {name: scenario.regret(name, points) for name in scenario.sets}
    for name, of_points in known.items():
        past = past.task(name, points, of_points.tolist())
    places = {key(point): i for i, point in enumerate(points)}
    only = points if cell.place == "pool" else None
    losses: dict[str, list[float]] = {}
    for together in [sets[i::FOLDS] for i in range(FOLDS)] if cell.strategy == "meta" else [[one] for one in sets]:
        part = strategies.part(cell.strategy, **cell.options)
        first = warm.Search(scenario.space, past.without(*together), part, cell.seed, only=only)
        for number, name in enumerate(together):
            search = first.again(cell.seed + 1000 * number)
            while len(search.trials) < TRIALS:
                values = search.propose()
                at = places.get(key(values))
                search.tell(values, float(scenario.regret(name, [values])[0] if at is None else known[name][at]))
            losses[name] = [trial.loss for trial in search.trials if trial.loss is not None]
    write_json(cell.kept, losses)
    print(*cell, f"{np.mean([min(row) for row in losses.values()]):.4f}", flush=True)
    return losses


def ends(cell: Cell) -> dict[str, tuple[float, float]]:
    """The least and the greatest loss of each data set that regret is measured between."""
    scenario = SCENARIOS[cell.scenario]
    if cell.place == "pool":
        points = scenario.space.draw(POOL, np.random.default_rng([cell.seed, 7]))
        every = {name: scenario.regret(name, points) for name in scenario.sets}
        return {name: (float(losses.min()), float(losses.max())) for name, losses in every.items()}
    kept = KEPT / f"{cell.scenario}-long.json"
    if not kept.exists():
        write_json(kept, {name: long_search(scenario, name) for name in scenario.sets})
    return {name: (low, 1.0) for name, low in read_json(kept).items()}


def long_search(scenario: Scenario, name: str, drawn: int = 3000, rounds: int = 40) -> float:
    """The least loss of random points and of neighbours of the best of them, round after round."""
    rng = np.random.default_rng(1)
    points = scenario.space.draw(drawn, rng)
    losses = scenario.regret(name, points)
    for _ in range(rounds):
        best = np.argsort(losses, kind="stable")[:10]
        kept = [points[int(i)] for i in best]
        points = kept + [near(scenario.space, one, rng) for one in kept for _ in range(20)]
        losses = np.concatenate([losses[best], scenario.regret(name, points[len(kept) :])])
    return float(losses.min())


def regrets(cells: list[Cell], lows: dict[str, float] | None = None) -> tuple[Floats, Floats]:
    """Best regret so far, the mean over seeds (sets, trials), and over data sets as well (trials,). lows: least losses
    by data set that any search found."""
    rows = []
    for cell in cells:
        bounds, losses = ends(cell), measured(cell)
        row = []
        for name, values in losses.items():
            low, high = bounds[name]
            low = min(low, (lows or {}).get(name, low))
            regret = (np.minimum.accumulate(values) - low) / (high - low)
            row.append(np.maximum(regret, 0.0))  # a surrogate's rounding depends on how many points it is asked for
        rows.append(row)
    mean = np.mean(np.array(rows), axis=0)
    return mean, mean.mean(axis=0)


def choose(step: int = 4) -> dict[str, dict[str, Any]]:
    """For each strategy the options with the least mean logarithm of the regret over the budgets, in a pool of rpart on
    a quarter of its data sets."""
    found: dict[str, dict[str, Any]] = {}
    for name, tried in _TRIED.items():
        curves = [regrets([Cell(RPART.name, "pool", name, options, 0, step)])[1] for options in tried]
        scores = [float(np.log(curve[[b - 1 for b in BUDGETS]] + _LEAST).mean()) for curve in curves]
        best = tried[int(np.argmin(scores))]
        figures = [curve[[b - 1 for b in BUDGETS]].round(5).tolist() for curve in curves]
        found[name] = {"options": best, "tried": tried, "mean log regret": scores, "regret": figures}
    return found


PLAN: dict[tuple[str, str], dict[str, int]] = {
    (LCBENCH.name, "pool"): {"random": 10, "portfolio": 10, "gp": 3, "portfolio-gp": 3, "surfaces": 10, "rgpe": 3,
                             "prior-mean": 2, "meta": 1},
    (XGBOOST.name, "pool"): {"random": 1, "portfolio": 1, "gp": 1, "portfolio-gp": 1, "surfaces": 1},
    (LCBENCH.name, "space"): {"random": 1, "portfolio": 1, "gp": 1, "portfolio-gp": 1, "surfaces": 1},
}  # fmt: skip
"""Strategies, and with how many seeds: each is another draw of points, of the pool or of experience."""


def planned(scenario: str, place: str, of: dict[str, int]) -> dict[str, list[Cell]]:
    """The cells of one table, by strategy."""
    options = _GIVEN | {name: one["options"] for name, one in choose().items()}
    return {
        name: [Cell(scenario, place, name, options.get(name, {}), seed) for seed in range(count)]
        for name, count in of.items()
    }


def search(plan: dict[tuple[str, str], dict[str, int]] | None = None) -> None:
    figures: dict[str, Any] = {}
    for (scenario, place), of in (plan or PLAN).items():
        cells = planned(scenario, place, of)
        lows: dict[str, float] = {}
        if place == "space":
            for cell in [cell for several in cells.values() for cell in several]:
                for name, losses in measured(cell).items():
                    lows[name] = min([lows.get(name, np.inf), *losses])
        means = {name: regrets(several, lows) for name, several in cells.items()}
        base = {name: regrets(cells["portfolio"][:count], lows)[0] for name, count in of.items()}
        figures[f"{scenario}, {place}"] = {
            name: {
                "seeds": of[name],
                "options": cells[name][0].options,
                "regret": {str(b): interval(mean[:, b - 1].tolist()) for b in BUDGETS},
                "less than the portfolio": {str(b): interval((base[name] - mean)[:, b - 1].tolist()) for b in BUDGETS},
                "curve": curve.round(5).tolist(),
            }
            for name, (mean, curve) in means.items()
        }
    told = {"pool": POOL, "experience": EXPERIENCE, "trials": TRIALS, "folds": FOLDS, "by hand": BY_HAND}
    store("warm", told | {"to reach": TO_REACH, "chosen": choose(), "figures": figures})
