"""Straight lines continued: five points seen, the next five forecast, each forecast fed back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

import quickstudy as qs
from quickstudy.episode import Examples, Params
from quickstudy.inner import RULES
from quickstudy.learners import GradientLearner
from quickstudy.registry import sources
from quickstudy.targets.distribution import Distribution
from quickstudy.tasks.series import SeriesSource
from quickstudy.training.build import initial_params
from studies.common import interval, store

SEEN, NEXT, VALIDATION, TEST, DRAWN = 5, 5, 200, 500, 6
Rates = Mapping[str, tuple[float, ...]]
RATES: Rates = {"sgd": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0), "adam": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)}
LONG = 1000
LONG_RATES: Rates = {"sgd": (0.01, 0.03), "adam": (0.003, 0.01, 0.03)}


def continued(learner: GradientLearner, params: Params, source: SeriesSource, split: str, count: int) -> Tensor:
    """The forecasts for the first `count` series of `split`, in their units: (count, NEXT)."""
    indices, (format, target) = torch.arange(count), (source.spec.format, source.spec.target)

    def one(support: Examples, seen: Tensor) -> Tensor:
        state, fitted = learner.adapt(params, support), format.prepare(seen)
        said = format.ask(lambda x: Distribution(learner.predict(params, state, x)), seen, fitted, steps=NEXT)
        return target.answer(said, (), format.units(fitted)).prediction

    with torch.no_grad():
        support = source.episodes(split, indices).support
        forecasts: Tensor = torch.func.vmap(one)(support, source.values(split, indices)[:, :SEEN])
    return forecasts


def errors(learner: GradientLearner, params: Params, source: SeriesSource, split: str, count: int) -> Tensor:
    """Mean squared error over the next points of every series: (count,); infinite where the forecast is not finite."""
    wanted = source.values(split, torch.arange(count))[:, SEEN:]
    found = (continued(learner, params, source, split, count) - wanted).square().mean(1)
    return found.nan_to_num(torch.inf, torch.inf)


def from_scratch(
    base: GradientLearner, params: Params, source: SeriesSource, rates: Rates, steps: int
) -> tuple[GradientLearner, str, float]:
    """The fresh network's learner with the rule and rate that are best on validation lines."""
    tried: dict[tuple[str, float], tuple[float, GradientLearner]] = {}
    for name, choices in rates.items():
        for rate in choices:
            learner = replace(base, rule=RULES[name](lr=rate), steps=steps, eval_steps=None)
            tried[name, rate] = float(errors(learner, params, source, "val", VALIDATION).mean()), learner
    best = min(tried, key=lambda key: tried[key][0])
    return tried[best][1], *best


def measured(config: qs.RunConfig, folder: Path) -> dict[str, Any]:
    """One training, and the errors on lines that none has seen."""
    began = time.perf_counter()
    run = qs.train(config, out=folder, quiet=True)
    seconds = time.perf_counter() - began
    source, learner = run.parts.source, run.parts.engine.learner.evaluated()
    assert isinstance(source, SeriesSource) and isinstance(learner, GradientLearner)
    fresh = initial_params(run.parts, config)
    same = from_scratch(learner, fresh, source, RATES, learner.steps)
    longer = from_scratch(learner, fresh, source, LONG_RATES, LONG)
    found = {
        "meta-learned": errors(learner, run.params, source, "test", TEST),
        "meta-learned, no step": errors(learner.with_steps(0), run.params, source, "test", TEST),
        "from scratch": errors(same[0], fresh, source, "test", TEST),
        f"from scratch, {LONG} steps": errors(longer[0], fresh, source, "test", TEST),
    }
    rows: dict[str, Any] = {name: {"mse": interval(values.tolist())} for name, values in found.items()}
    gap = (found["from scratch"] - found["meta-learned"]).tolist()
    for name, chosen in (("from scratch", same), (f"from scratch, {LONG} steps", longer)):
        rows[name] |= {"rule": chosen[1], "rate": chosen[2]}
    return {
        "rows": rows,
        "times lower": float(found["from scratch"].mean() / found["meta-learned"].mean()),
        "difference": interval(gap),
        "steps": learner.steps,
        "seconds": seconds,
        "curves": {
            "true": source.values("test", torch.arange(DRAWN)).tolist(),
            "meta-learned": continued(learner, run.params, source, "test", DRAWN).tolist(),
            "from scratch": continued(same[0], fresh, source, "test", DRAWN).tolist(),
        },
    }


def lines() -> None:
    """The recipe lines-lstm, and the same with lines normalised by their seen points."""
    torch.set_num_threads(1)
    config = qs.recipes.lines_lstm()
    normalised = replace(config, tasks=sources.part("series", kind="lines", window=9, normalise=True))
    with TemporaryDirectory() as folder:
        found = {
            "as they are": measured(config, Path(folder) / "plain"),
            "normalised": measured(normalised, Path(folder) / "normalised"),
        }
    store("lines", {"seed": config.seed, "validation": VALIDATION, "seen": SEEN, "next": NEXT, "variants": found})
