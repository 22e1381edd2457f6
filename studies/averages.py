"""Averaging models: rounds of FedAvg and FedSGD, a greedy soup, the backends beside each other, unseen domains."""

from __future__ import annotations

import time
from contextlib import ExitStack
from itertools import pairwise
from statistics import median
from typing import Any, get_args

import torch
from torch import Tensor

import quickstudy as qs
from quickstudy.averaging import Interpolation, Round, Supervised, greedy_soup, interpolation, mean, split, train_parts
from quickstudy.episode import Examples, Params, leaves, task
from quickstudy.inner import SGD, Adam
from quickstudy.learners import Network
from quickstudy.models import conv4, mlp
from quickstudy.registry import formats, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks.classes import ClassSource
from quickstudy.workers import Where, Workers
from studies.common import interval, store

SEED, CLASSES, EACH = 0, 20, 999
PARTS, FRACTION, EPOCHS, BATCH = 100, 0.1, 5, 10
TARGET = 0.80


def glyphs() -> tuple[Tensor, Tensor, TaskSpec]:
    """20 made-up characters, 999 drawings of each (one has 1,000 in all), as (n, 1, 14, 14), in a shuffled order."""
    source = qs.tasks.glyphs(size=14).sampled(qs.Sampling(CLASSES, EACH, 1)).seeded(SEED)
    drawn = task(source.episodes("train", torch.zeros(1, dtype=torch.int64)), 0).support
    order = torch.randperm(CLASSES * EACH, generator=torch.Generator().manual_seed(SEED))
    return leaves(drawn.x)[0][order].contiguous(), drawn.y[order], source.spec


def accuracy(network: Network, params: Params, x: Tensor, y: Tensor, spec: TaskSpec) -> float:
    with torch.no_grad():
        known = torch.ones_like(y, dtype=torch.bool)
        return float(spec.target.score(network(params, x), Examples(x, y, known)))


def fedavg() -> None:
    """Rounds to the same accuracy, FedAvg (E = 5, B = 10) and one-step averaging, each with its best rate."""
    x, y, spec = glyphs()
    cut = len(x) * 8 // 10
    half = (len(x) + cut) // 2
    network = Network(mlp(spec, width=100))
    start = network.init(torch.Generator().manual_seed(SEED))

    def runs(rate: float, epochs: int, batch: int | None, how: Any, rounds: int, until: float, test: bool) -> Any:
        parts = tuple(split(y[:cut], PARTS, how, seed=SEED))
        member = Supervised(network, spec, SGD(lr=rate), x[:cut], y[:cut], parts, epochs, batch, SEED)
        part = slice(half, None) if test else slice(cut, half)
        return train_parts(
            member, start, rounds=rounds, fraction=FRACTION, seed=SEED, until=until,
            score=lambda params: accuracy(network, params, x[part], y[part], spec),
        )  # fmt: skip

    found: dict[str, Any] = {}
    for how in ("random", "class"):
        for name, epochs, batch, rates, rounds in (
            ("FedAvg", EPOCHS, BATCH, (0.1, 0.2, 0.3, 0.5), 200),
            ("FedSGD", 1, None, (0.5, 1.0, 1.5, 2.0), 2000),
        ):
            tried = {}
            for rate in rates:  # chosen on one half of what is held out, measured on the other
                tried[rate] = runs(rate, epochs, batch, how, rounds, TARGET, False)
                print(how, name, rate, len(tried[rate].rounds), tried[rate].rounds[-1].score, flush=True)
            best = min(tried, key=lambda r: (len(tried[r].rounds), -(tried[r].rounds[-1].score or 0)))
            final = runs(best, epochs, batch, how, rounds, TARGET, True)
            scores = [turn.score for turn in final.rounds]
            reached = (scores[-1] or 0) >= TARGET
            found[f"{name}, {'iid' if how == 'random' else 'two classes a part'}"] = {
                "rounds": len(scores) if reached else None, "tried": rounds, "best": max(s or 0 for s in scores),
                "rate": best, "curve": scores[:: max(1, len(scores) // 100)], "every": max(1, len(scores) // 100),
            }  # fmt: skip
    store("fedavg", {"target": TARGET, "parts": PARTS, "fraction": FRACTION, "epochs": EPOCHS, "batch": BATCH,
                     "seed": SEED, "rows": found})  # fmt: skip


def soup() -> None:
    """16 models fine-tuned from one start with different rates, numbers of epochs and orders of the data."""
    x, y, spec = glyphs()
    network = Network(mlp(spec, width=100))
    cuts = [len(x) * k // 10 for k in (3, 5, 7)]
    first, tune, val, test = (slice(a, b) for a, b in zip([0, *cuts], [*cuts, None], strict=True))

    def trained(start: Params, part: slice, rate: float, epochs: int, seed: int) -> Params:
        own = (torch.arange(len(x[part])),)
        return Supervised(network, spec, Adam(lr=rate), x[part], y[part], own, epochs, 20, seed)(start, 0, 0)

    start = trained(network.init(torch.Generator().manual_seed(SEED)), first, 1e-3, 3, SEED)
    models = {
        f"rate {rate:g}, {epochs} epochs, order {seed}": trained(start, tune, rate, epochs, seed)
        for rate in (3e-4, 1e-3, 2e-3, 4e-3) for epochs in (2, 5) for seed in (1, 2)
    }  # fmt: skip

    def score(part: slice) -> Any:
        return lambda params: accuracy(network, params, x[part], y[part], spec)

    made = greedy_soup(models, score(val))
    best = next(iter(made.scores))
    everyone = mean(models)

    def along(params: Params) -> float:
        with torch.no_grad():
            known = torch.ones_like(y[val], dtype=torch.bool)
            return float(spec.target.loss(network(params, x[val]), Examples(x[val], y[val], known)))

    other = trained(network.init(torch.Generator().manual_seed(99)), tune, 1e-3, 5, 1)
    lines: dict[str, Interpolation] = {
        "the best and the second best": interpolation(models[best], models[list(made.scores)[1]], along),
        "the best and a model of another start": interpolation(models[best], other, along),
    }
    store("soup", {
        "members": len(made.members), "seed": SEED, "examples": [len(x[val]), len(x[test])],
        "rows": {
            "best member": [made.scores[best], score(test)(models[best])],
            "greedy soup": [made.score, score(test)(made.params)],
            "mean of all 16": [score(val)(everyone), score(test)(everyone)],
            "median member": [median(made.scores.values()), median(score(test)(m) for m in models.values())],
        },
        "lines": {name: {"losses": found.losses, "barrier": found.barrier} for name, found in lines.items()},
    })  # fmt: skip


def backends() -> None:
    """The same rounds by every backend: are the averages the same, and how fast is each, once it has started?"""
    drawn = torch.Generator().manual_seed(SEED)
    x, weight = torch.randn(6400, 20, generator=drawn), torch.randn(20, 5, generator=drawn)
    y, spec = (x @ weight).argmax(1), TaskSpec(formats.make("array", shape=(20,)), targets.make("classes", ways=5))
    network = Network(mlp(spec))
    start = network.init(drawn)
    member = Supervised(network, spec, SGD(lr=0.1), x, y, tuple(split(y, 32)), 1, 10, SEED)
    rounds, workers = 4, 2
    rows: dict[str, dict[str, float]] = {}
    last: dict[str, Params] = {}
    for backend in ("vmap", *get_args(Where)):
        times = [time.perf_counter()]

        def told(_: Round, times: list[float] = times) -> None:
            times.append(time.perf_counter())

        with ExitStack() as stack:
            crew = "vmap" if backend == "vmap" else stack.enter_context(Workers(backend, workers))
            times.append(time.perf_counter())
            last[backend] = train_parts(member, start, rounds=rounds, backend=crew, progress=told).params
        opening, first, *later = (after - before for before, after in pairwise(times))
        rows[backend] = {"opening": opening, "first round": first, "later rounds": median(later)}
        print(backend, rows[backend], flush=True)
    for name, row in rows.items():
        row["difference"] = max(float((last[name][k] - last["loop"][k]).abs().max()) for k in start)
    store("backends", {
        "members": 32, "steps": 20, "rounds": rounds, "workers": workers, "seed": SEED, "rows": rows,
    })  # fmt: skip


def domains() -> None:
    """Parts are alphabets, each with members that train a prototypical network on its own tasks; unseen alphabets."""
    from quickstudy.averaging import Episodic
    from quickstudy.training.options import OuterOptions

    source = qs.tasks.omniglot(split="lake", within=True, evaluation="all")
    assert isinstance(source, ClassSource)
    shaped = source.sampled(qs.Sampling(5, 1, 5)).seeded(SEED)
    made = qs.learners.protonet(conv4(shaped.spec, head=False, width=32, norm_layer="group"), shaped.spec)
    start = made.init(torch.Generator().manual_seed(SEED))
    testing = shaped.sampled(qs.Sampling(5, 1, 15))
    engine = qs.Engine(made, torch.device("cpu"), "loop")

    def measured(params: Params, split_: str = "test", count: int = 400) -> dict[str, float]:
        values = []
        for index in range(0, count, 20):
            episodes = testing.episodes(split_, torch.arange(index, index + 20))
            answers = engine.predictions(params, episodes)
            values += (answers.argmax(2) == episodes.query.y).float().mean(1).tolist()
        return interval(values)

    rows = {"untrained": measured(start)}
    for name, steps, rounds in (("one round of 200 steps", 200, 1), ("10 rounds of 20 steps", 20, 10),
                                ("200 rounds of 1 step", 1, 200)):  # fmt: skip
        member = Episodic.by_group(engine, shaped, OuterOptions(lr=1e-3), steps, tasks=4)
        ended = train_parts(member, start, rounds=rounds, fraction=0.4, backend="loop", seed=SEED)
        rows[name] = measured(ended.params)
        print(name, rows[name], flush=True)
    store("domains", {"parts": len(member.sizes), "fraction": 0.4, "seed": SEED, "rows": rows})
