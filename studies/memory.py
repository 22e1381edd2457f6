"""Starting from memories, from a plain average, from scratch and from MAML's φ; and learning task after task."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import torch

import quickstudy as qs
from quickstudy.averaging import mean
from quickstudy.entries import PARAMETER, prefixed
from quickstudy.episode import Episode, Examples, Params, State, task
from quickstudy.learners import IterativeLearner, MemoryLearner
from quickstudy.learners import memory as memory_learner
from quickstudy.learners.descent import begin
from quickstudy.learners.describe import fit_head
from quickstudy.memory import Bank, Memory
from quickstudy.memory.solved import Start as Begin
from quickstudy.models import conv4
from quickstudy.tasks.base import Source
from studies.common import interval, slope, store

SEED, REMEMBERED, TESTED, ORDER = 0, 100, 200, 600
AT = (1, 5, 20)
LR, STEPS, NEAREST, WIDTH = 0.003, 10, 20, 32  # chosen on validation alphabets

MAML = {"iterations": 400, "steps": 2}

Start = Callable[[Examples], State]


def tasks() -> Source:
    """Five characters of one alphabet, five drawings each; background alphabets to remember, others to test on."""
    source = qs.tasks.omniglot(split="lake", within=True, evaluation="all")
    return source.sampled(qs.Sampling(5, 5, 15)).seeded(SEED)


def learner(source: Source, steps: int) -> MemoryLearner:
    network = conv4(source.spec, width=WIDTH)
    return memory_learner(
        network, source.spec, lr=LR, steps=steps, rule="adam", norm="batch", nearest=NEAREST, near=-1.0
    )


def described(made: MemoryLearner, source: Source, seed: int = SEED) -> Params:
    """A fresh φ, with the mean and spread of descriptions over 64 training tasks."""
    some = source.episodes("train", torch.arange(64))
    return made.calibrate(made.init(torch.Generator().manual_seed(seed)), [task(some, i) for i in range(64)])


def curve(made: IterativeLearner, params: Params, start: Start, episodes: list[Episode]) -> dict[str, Any]:
    """Query accuracy after 1, 5 and 20 steps."""
    found: dict[int, list[float]] = {at: [] for at in AT}
    with torch.no_grad():
        for episode in episodes:
            state = start(episode.support)
            for step in range(1, AT[-1] + 1):
                state = made.step(params, state, episode.support)
                if step in found:
                    found[step].append(float(made.judge(params, state, episode.query)[1]))
    return {str(at): interval(values) for at, values in found.items()}


def starts() -> None:
    """100 tasks remembered; tasks of other alphabets from several starts."""
    source = tasks()
    made = learner(source, STEPS)
    phi, headline = described(made, source), source.spec.target.metric.name
    with tempfile.TemporaryDirectory() as folder:
        memory = Memory(Bank(folder), made, phi)
        built = memory.build(source, REMEMBERED, first=1000)
        bank = {entry.id: memory.bank.load(entry.id) for entry in memory.bank.entries()}
        average = mean(list(bank.values()))
        testing = source.episodes("test", torch.arange(TESTED))
        episodes = [task(testing, i) for i in range(TESTED)]

        def recalled(support: Examples) -> State:
            return made.start(memory.recall(support)[0], support)

        def from_(values: Params, refit: bool = False) -> Start:
            def start(support: Examples) -> State:
                head = fit_head(made.network, phi, values, support, made.spec) if refit else {}
                return begin(made.rule, values | head) | _extra()

            return start

        def keep() -> None:  # after each curve: what takes long is not lost
            store("starts", {
                "settings": {"rule": "adam", "lr": LR, "steps to remember": STEPS, "nearest": NEAREST, "width": WIDTH,
                             "seed": SEED, "remembered": REMEMBERED, "MAML": MAML},
                "remembered": [interval([s.metrics[headline] for s in part]) for part in (built[:20], built[-20:])],
                "rows": found,
            })  # fmt: skip

        scratch = prefixed(PARAMETER, phi)
        begins = {
            "memory": recalled,
            "random": from_(scratch),
            "plain average": from_(average),
            "random, head fitted": from_(scratch, True),
            "plain average, head fitted": from_(average, True),
        }
        found: dict[str, Any] = {}
        for name, start in begins.items():
            found[name] = curve(made, phi, start, episodes)
            keep()
        found["MAML's φ"] = curve_of_maml(source, episodes)
        keep()


def _extra() -> State:
    none = torch.zeros((), dtype=torch.int64)
    return {"count": none, "recalled": none[None] - 1, "closeness": torch.zeros(1)}


def curve_of_maml(source: Source, episodes: list[Episode]) -> dict[str, Any]:
    """The bar: MAML trained on tasks of the same alphabets, with its own inner rule."""
    config = qs.RunConfig(
        name="bar", learner=qs.registry.learners.part("maml", lr=0.2, steps=MAML["steps"], norm="batch"),
        model=qs.registry.models.part("conv4", width=WIDTH), ways=5, shots=5, queries=15, iterations=MAML["iterations"],
        meta_batch=4, lr=1e-3, validate_every=MAML["iterations"], validation_episodes=20, seed=SEED, device="cpu",
        compile="off",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        run = qs.train(config, source=source, out=f"{folder}/run", quiet=True)
        made = run.learner
        assert isinstance(made, IterativeLearner)
        return curve(made, run.params, lambda support: made.start(run.params, support), episodes)


def lifelong() -> None:
    """Tasks arrive one after another: accuracy after 5 steps, with memory and without."""
    source = tasks()
    made = learner(source, AT[1])
    phi, headline = described(made, source), source.spec.target.metric.name
    begins: dict[str, Begin] = {"memory": "memory", "no memory": "phi"}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        memory = Memory(Bank(folder), made, phi)
        for name, start in begins.items():
            solved = memory.build(source, ORDER, first=2000, start=start, remember=name == "memory")
            values = [one.metrics[headline] for one in solved]
            found[name] = {
                "slope per 100 tasks": {k: v * (100 if k != "count" else 1) for k, v in slope(values).items()},
                "first 50": interval(values[:50]),
                "last 50": interval(values[-50:]),
                "values": values,
            }
    store("lifelong", {"steps": AT[1], "seed": SEED, "rows": found})
