"""Whether a learner uses its support set: measured as by hand, for every learner, and stored."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from guessable import Guessable
from small_tasks import classes
from torch import Tensor, nn

from quickstudy.engine import Engine
from quickstudy.engine.distribute import Group
from quickstudy.episode import Examples, Params, State, task
from quickstudy.errors import ConfigError, DataError
from quickstudy.evaluation.evaluate import evaluate
from quickstudy.evaluation.result import Result
from quickstudy.evaluation.support_use import support_use
from quickstudy.learners import EmbeddingLearner, Learner, protonet
from quickstudy.models import WithContext
from quickstudy.registry import formats, learners, models, sources
from quickstudy.spec import TaskSpec
from quickstudy.storage.json import read_json, write_json
from quickstudy.tasks import sinusoid, tables
from quickstudy.tasks.base import Sampling, Source

CPU = torch.device("cpu")
POINTS = classes((8,), 2)


def engine_for(name: str, spec: TaskSpec, **options: Any) -> tuple[Engine, Params]:
    """A learner of small vectors and its initial φ."""
    traits = learners.traits(name)
    context = 2 if traits.context else 0
    wide = replace(spec, format=formats.make("array", shape=(spec.input_shape[0] + context,)))
    module = models.part("mlp", width=6, depth=1).build(wide, traits.head)
    module = WithContext(module, context) if context else module
    if traits.pretrains:
        options |= {"classes": 4}
    learner: Learner = learners[name](module, spec, **options)
    return Engine(learner, CPU), learner.init(torch.Generator().manual_seed(0))


def of(losses: list[Tensor]) -> tuple[float, float]:
    values = [float(value) for value in losses]
    return statistics.fmean(values), 1.96 * statistics.stdev(values) / len(values) ** 0.5


def by_hand(learner: Learner, params: Params, source: Source, count: int) -> dict[str, tuple[float, float]]:
    """Every figure of SupportUse, one task after another."""
    learner = learner.evaluated()
    tasks = [task(source.episodes("test", torch.tensor([i])), 0) for i in range(count)]

    def loss(support: Examples, query: Examples) -> Tensor:
        return learner.judge(params, learner.adapt(params, support), query)[0]

    own = [loss(one.support, one.query) for one in tasks]
    empty = [loss(one.support._replace(mask=one.support.mask & False), one.query) for one in tasks]
    other = [loss(tasks[(i + 1) % count].support, one.query) for i, one in enumerate(tasks)]
    return {
        "own": of(own),
        "empty": of(empty),
        "other": of(other),
        "empty_minus_own": of([b - a for a, b in zip(own, empty, strict=True)]),
        "other_minus_own": of([c - a for a, c in zip(own, other, strict=True)]),
    }


@pytest.mark.parametrize(("episodes", "tasks"), [(2, 2), (17, 17), (200, 64)])
@pytest.mark.parametrize("name", ["protonet", "maml"])
def test_figures_are_those_by_hand(name: str, episodes: int, tasks: int) -> None:
    options = {"lr": 0.5, "steps": 1, "eval_steps": 3} if name == "maml" else {}
    engine, params = engine_for(name, POINTS, **options)
    found = support_use(engine, params, Guessable(), "test", episodes)
    assert (found.tasks, found.missing) == (tasks, {})
    for figure, (mean, ci95) in by_hand(engine.learner, params, Guessable(), tasks).items():
        estimate = getattr(found, figure)
        assert estimate.mean == pytest.approx(mean, rel=1e-4, abs=1e-6), figure
        assert estimate.ci95 == pytest.approx(ci95, rel=1e-3, abs=1e-6), figure


@dataclass(frozen=True)
class _Half(Group):
    """One of two processes, of which each can be looked at alone."""

    def sum(self, values: Tensor, where: str) -> Tensor:
        return values

    def gather(self, value: Any, where: str) -> list[Any]:
        return [value]


def test_processes_share_the_work() -> None:
    engine, params = engine_for("protonet", POINTS)
    halves = [support_use(engine, params, Guessable(), "test", 40, _Half(rank, 2)) for rank in range(2)]
    whole = support_use(engine, params, Guessable(), "test", 40)
    for figure in ("own", "empty", "other"):
        found = [getattr(half, figure) for half in halves]
        parts = [
            one.mean * one.count / 40 for one in found
        ]  # of the other comparison, only a process's own tasks count
        assert all(part > 0 for part in parts)
        assert sum(parts) == pytest.approx(getattr(whole, figure).mean), "each is 0 on the other's tasks"


def test_queries_of_classes_that_the_other_support_lacks_do_not_count() -> None:
    """Tables have different numbers of classes; an absent class has a logit of −10⁹, which no mean survives."""
    source = sources["structural"](columns=4).sampled(Sampling(ways=6, shots=30, queries=20))
    learner = learners["protonet"](torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 4)), source.spec)
    engine = Engine(learner, torch.device("cpu"))
    found = support_use(engine, learner.init(torch.Generator().manual_seed(0)), source, "test", 64)
    assert found.other is not None
    assert 0 < found.other.mean < 100


@pytest.mark.parametrize("kind", ["classification", "regression"])
@pytest.mark.parametrize("name", [name for name in learners if not learners.traits(name).dense])
def test_every_learner_takes_an_empty_support_set(name: str, kind: str) -> None:
    source: Source = sinusoid().sampled(Sampling(ways=1, shots=3, queries=4)) if kind == "regression" else Guessable()
    try:
        engine, params = engine_for(name, source.spec)
    except ConfigError:
        pytest.skip("it does not regress")
    found = support_use(engine, params, source, "test", 5)
    assert not found.missing
    assert found.empty is not None and found.empty.ci95 >= 0


@dataclass(frozen=True, kw_only=True)
class _Refuses(EmbeddingLearner):
    def adapt(self, params: Params, support: Examples) -> State:
        if not bool(support.mask.any()):
            raise DataError("Nothing to learn from.\nGive an example.")
        return super().adapt(params, support)


@dataclass(frozen=True, kw_only=True)
class _Divides(EmbeddingLearner):
    def adapt(self, params: Params, support: Examples) -> State:
        state = super().adapt(params, support)
        return state | {
            "prototypes": state["prototypes"] / (support.mask.sum() > 0),
            "present": ~state["present"] | True,
        }


@pytest.mark.parametrize(
    ("learner", "said"), [(_Refuses, "refuses an empty support set: DataError: Nothing to"), (_Divides, "not finite")]
)
def test_what_cannot_be_measured_says_why(learner: type[EmbeddingLearner], said: str, tmp_path: Path) -> None:
    sound = protonet(nn.Linear(8, 4), POINTS)
    engine = Engine(learner(network=sound.network, spec=POINTS, head=sound.head), CPU, "loop")
    result = evaluate(engine, sound.init(torch.Generator().manual_seed(0)), Guessable(), "test", 5)
    found = result.support
    assert found is not None and found.empty is None and found.empty_minus_own is None
    assert said in found.missing["empty"]
    assert found.other_minus_own is not None
    write_json(tmp_path / "result.json", result.to_json())
    assert Result.from_json(read_json(tmp_path / "result.json")) == result


@dataclass(frozen=True, kw_only=True)
class _Doubled(EmbeddingLearner):
    def judge(self, params: Params, state: State, query: Examples) -> tuple[Tensor, Tensor]:
        loss, metric = super().judge(params, state, query)
        return 2 * loss, metric


def test_the_loss_is_the_learners_own() -> None:
    sound = protonet(nn.Linear(8, 4), POINTS)
    params = sound.init(torch.Generator().manual_seed(0))
    twice = _Doubled(network=sound.network, spec=POINTS, head=sound.head)
    one, other = (support_use(Engine(m, CPU), params, Guessable(), "test", 8) for m in (sound, twice))
    assert one.own is not None and other.own is not None
    assert other.own.mean == pytest.approx(2 * one.own.mean)


def test_one_data_set_says_nothing_about_others() -> None:
    generator = torch.Generator().manual_seed(0)
    data = {
        f"machine {i}": (torch.randn(30, 2, generator=generator), torch.randn(30, generator=generator))
        for i in range(5)
    }
    source = tables(data, val=0.4, test=0.2)
    engine, params = engine_for("maml", source.spec)
    alone, several = (evaluate(engine, params, source, split, 6).support for split in ("test", "val"))
    assert alone is not None and alone.other is None and "one data set" in alone.missing["other"]
    assert several is not None and several.other is not None and not several.missing
