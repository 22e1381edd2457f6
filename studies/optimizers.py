"""Learned optimizers beside those of torch: on quadratics, and on networks twice as wide as those trained on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Params
from quickstudy.inner import MLPRule, Rule
from quickstudy.optim import Classifiers, LearnedOptimizer, Problems, Quadratics, Unrolls, curves, train_optimizer
from quickstudy.optim.optimizer import load_rule, save_rule
from studies.common import RESULTS, interval, store

SEED, STEPS, LOOKS = 0, 100, 25
RATES = [10 ** (k / 6) for k in range(-24, 7)]
Optimizers = dict[str, Callable[[Iterable[Tensor], float], torch.optim.Optimizer]]
RIVALS: Optimizers = {
    "SGD": lambda params, rate: torch.optim.SGD(params, lr=rate),
    "momentum": lambda params, rate: torch.optim.SGD(params, lr=rate, momentum=0.9),
    "RMSprop": lambda params, rate: torch.optim.RMSprop(params, lr=rate),
    "Adam": lambda params, rate: torch.optim.Adam(params, lr=rate),
}


@dataclass(frozen=True)
class Contest:
    """How an optimizer is trained, and on how many functions it and its rivals are tuned and measured.

    every: of the rates, how many apart are tried.
    """

    name: str
    unrolls: Unrolls
    iterations: int
    lr: float
    unseen: Problems
    validation: int
    counts: tuple[int, ...]
    every: int = 1

    def keys(self, split: str, count: int) -> Tensor:
        return rng.split(rng.key(SEED, self.name, split), count)


CONTESTS = (
    Contest(
        "quadratics",
        Unrolls(MLPRule(lr=4.0, scale="secant"), Quadratics(), STEPS, 25, 128, "log", floor=1.0, seed=SEED),
        iterations=700,
        lr=4e-3,
        unseen=Quadratics(),
        validation=500,
        counts=(100, 1000),
    ),
    Contest(
        "classifiers",
        Unrolls(MLPRule(lr=0.1), Classifiers(width=16), STEPS, 20, 32, "log", floor=1e-5, seed=SEED),
        iterations=75,
        lr=3e-3,
        unseen=Classifiers(width=32),
        validation=100,
        counts=(100,),
        every=2,
    ),
)


def settings(contest: Contest) -> dict[str, Any]:
    """All that the weights depend on, as JSON."""
    plain = {
        f.name: getattr(contest.unrolls, f.name)
        for f in fields(Unrolls)
        if f.name not in ("rule", "problems", "device")
    }
    names = {"rule": repr(contest.unrolls.rule), "problems": repr(contest.unrolls.problems)}
    return plain | names | {"outer steps": contest.iterations, "lr": contest.lr, "validation": contest.validation}


def stored(contest: Contest) -> tuple[Params, dict[str, Any]]:
    """Weights stored with the same settings, or trained now and stored; and how training went."""
    path = RESULTS / f"{contest.name}.safetensors"
    if path.exists():
        _, weights, facts = load_rule(path)
        if facts["settings"] == settings(contest):
            return weights, facts["training"]
    weights, training = trained(contest)
    save_rule(path, contest.unrolls.rule, weights, {"settings": settings(contest), "training": training})
    return weights, training


def trained(contest: Contest) -> tuple[Params, dict[str, Any]]:
    """The weights with the least mean loss at the end on validation functions, looked at `LOOKS` times."""
    began, best = time.perf_counter(), {"loss": float("inf"), "iterations": 0}
    found: Params = {}
    every = max(1, contest.iterations // LOOKS)
    problems, keys = contest.unrolls.problems, contest.keys("validation", contest.validation)

    def look(step: int, weights: Params, _: float) -> None:
        nonlocal found
        if step % every:
            return
        loss = float(losses(problems, keys, contest.unrolls.rule, weights)[:, -1].mean())
        print(contest.name, step, f"{loss:.4g}", f"{time.perf_counter() - began:.0f} s", flush=True)
        if loss < best["loss"]:
            found = {name: value.detach().clone() for name, value in weights.items()}
            best.update(loss=loss, iterations=step)

    train_optimizer(contest.unrolls, contest.iterations, lr=contest.lr, on_step=look)
    return found, {**best, "seconds": time.perf_counter() - began}


def losses(problems: Problems, keys: Tensor, rule: Rule, weights: Params) -> Tensor:
    return curves(lambda params: LearnedOptimizer(params, rule, weights), problems, keys, STEPS)


def best_rate(name: str, problems: Problems, keys: Tensor, rates: list[float]) -> tuple[float, Tensor]:
    """The rate with the least mean loss at the end; and that loss of all rates (R,), infinite for NaN."""
    ends = torch.stack(
        [curves(lambda p, r=rate: RIVALS[name](p, r), problems, keys, STEPS)[:, -1].mean() for rate in rates]  # type: ignore[misc]
    ).nan_to_num(float("inf"))
    return rates[int(ends.argmin())], ends


def contest(contest: Contest) -> dict[str, Any]:
    weights, training = stored(contest)
    rule = contest.unrolls.rule
    keys = contest.keys("unseen", max(contest.counts))
    found = {"learned": losses(contest.unseen, keys, rule, weights)}
    rates: dict[str, float] = {}
    for name in RIVALS:  # tuned on functions like those they are measured on
        rates[name], ends = best_rate(
            name, contest.unseen, contest.keys("validation", contest.validation), RATES[:: contest.every]
        )
        assert float(ends[[0, -1]].min()) > float(ends.min()), f"the grid of rates ends too early for {name}"
        found[name] = curves(lambda p, n=name: RIVALS[n](p, rates[n]), contest.unseen, keys, STEPS)  # type: ignore[misc]
    rows: dict[str, Any] = {}
    given_up = {name: ~values.isfinite().all(dim=1) for name, values in found.items()}
    found = {  # a run that is not finite to its end counts as if it had never moved
        name: torch.where(given_up[name][:, None], values[:, :1], values) for name, values in found.items()
    }
    for name, values in found.items():
        rows[name] = {"rate": rates.get(name), "curve": values[: contest.counts[0]].mean(dim=0).tolist()}
        for count in contest.counts:
            mine, theirs = (end[:count, -1].double() for end in (found["learned"], values))
            rows[name][f"{count} functions"] = {
                "not finite": int(given_up[name][:count].sum()),
                "final": interval(theirs.tolist()),
                "log10 final": interval(theirs.clamp(min=1e-12).log10().tolist()),
                "above learned": interval((theirs - mine).tolist()) if name != "learned" else None,
            }
        print(contest.name, name, rates.get(name), rows[name]["100 functions"], flush=True)
    return {
        "rows": rows, "training": training, "settings": settings(contest),
        "validation": contest.validation, "rates": len(RATES[:: contest.every]),
        "trained on": repr(contest.unrolls.problems), "measured on": repr(contest.unseen),
    }  # fmt: skip


def optimizers() -> None:
    """Train on one thread, and compare on functions not seen in training."""
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for one in CONTESTS:
        found[one.name] = contest(one)
        store("optimizers", {"seed": SEED, "steps": STEPS, "rates": [RATES[0], RATES[-1]], "contests": found})
