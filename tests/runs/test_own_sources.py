"""Tasks of the user's own that are not as they say are refused with advice, before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import blobs, class_run, linear_run
from torch import Tensor, nn

from quickstudy.engine import Engine
from quickstudy.episode import Episode, map_episode
from quickstudy.errors import ConfigError, QuickstudyError, ShapeError
from quickstudy.evaluation.evaluate import evaluate
from quickstudy.formats.base import Format
from quickstudy.formats.layout import Leaf
from quickstudy.formats.records import Broken, Stored
from quickstudy.registry import learners
from quickstudy.runs.train import train
from quickstudy.spec import TaskSpec
from quickstudy.tasks import arrays, tables
from quickstudy.tasks.base import Sampling, Source
from quickstudy.tasks.classes import ClassSource


@dataclass(frozen=True)
class Spoiled(Source):
    """The tasks of `source` in the splits, changed by `spoil`."""

    source: ClassSource
    spoil: Callable[[Episode], Episode]
    splits: tuple[str, ...] = ("train", "val", "test")

    @property
    def spec(self) -> TaskSpec:  # type: ignore[override]
        return self.source.spec

    @property
    def sampling(self) -> Sampling:  # type: ignore[override]
        return self.source.sampling

    @property
    def seed(self) -> int:  # type: ignore[override]
        return self.source.seed

    def episodes(self, split: str, indices: Tensor) -> Episode:
        drawn = self.source.episodes(split, indices)
        return self.spoil(drawn) if split in self.splits else drawn

    def sampled(self, sampling: Sampling) -> Spoiled:
        return replace(self, source=self.source.sampled(sampling))

    def seeded(self, seed: int) -> Spoiled:
        return replace(self, source=self.source.seeded(seed))

    def to(self, device: torch.device | str) -> Spoiled:
        return replace(self, source=self.source.to(device))


def changed(**leaves: Callable[[Any], Any]) -> Callable[[Episode], Episode]:
    """Change x, y or mask of the support set."""
    return lambda e: e._replace(support=e.support._replace(**{n: f(getattr(e.support, n)) for n, f in leaves.items()}))


SPOILED = [
    (changed(y=lambda y: y.int()), "support.y holds class ids and must be int64, found torch.int32"),
    (changed(y=lambda y: y + 1), "support.y holds class ids from 1 to 3"),
    (changed(x=lambda x: x / 0), "support.x holds NaN or infinite values"),
    (changed(x=lambda x: x[..., :5]), "support.x has size 5 along axis 2, expected 8"),
    (changed(x=lambda x: x.int()), "support.x must be floating point"),
    (changed(mask=lambda m: m.float()), "support.mask must be bool"),
    (lambda e: map_episode(lambda t: t[0], e), "support.mask must have the axes"),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILED)
@pytest.mark.parametrize("split", ["train", "val"])
def test_training_tasks_that_are_not_as_they_say(
    split: str, spoil: Callable[[Episode], Episode], said: str, tmp_path: Path
) -> None:
    with pytest.raises(QuickstudyError) as caught:
        train(class_run("protonet"), out=tmp_path / "run", source=Spoiled(blobs(), spoil, (split,)), quiet=True)
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_evaluation_tasks_that_are_not_as_they_say(tmp_path: Path) -> None:
    spoil, said = SPOILED[0]
    source = Spoiled(blobs(), spoil, ("test",))
    run = train(class_run("protonet", iterations=1), out=tmp_path / "run", source=source, quiet=True)
    with pytest.raises(ShapeError, match=said):
        run.evaluate(episodes=2)


@dataclass(frozen=True)
class Weighted(Format):
    """Values and their weights: two tensors."""

    @property
    def layout(self) -> Mapping[str, Leaf]:
        return {"values": Leaf((8,)), "weights": Leaf((8,))}

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        return Stored(records, list(range(len(records["values"]))), [])


def test_inputs_of_several_tensors_need_a_network_of_their_own() -> None:
    class OfTwo(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 6)

        def forward(self, values: Tensor, weights: Tensor) -> Tensor:
            return torch.as_tensor(self.layer(values * weights))

    @dataclass(frozen=True)
    class OfTwoTensors(Spoiled):
        @property
        def spec(self) -> TaskSpec:  # type: ignore[override]
            return replace(self.source.spec, format=Weighted())

    def weighted(episode: Episode) -> Episode:
        return Episode(*(p._replace(x={"values": p.x, "weights": torch.ones_like(p.x)}) for p in episode))  # type: ignore

    source = OfTwoTensors(blobs().sampled(Sampling(3, 1, 5)), weighted)
    with pytest.raises(ConfigError, match="'mlp' takes one tensor, but these tasks are of"):
        train(class_run("protonet"), source=source, quiet=True)
    learner = learners["protonet"](OfTwo(), source.spec)
    engine = Engine(learner, torch.device("cpu"))
    assert evaluate(engine, learner.init(torch.Generator()), source, "test", 4).episodes == 4


def test_examples_that_are_single_numbers() -> None:
    with pytest.raises(ShapeError, match=r"axis of features.*x\[:, None\]"):
        arrays(torch.randn(40), torch.arange(20).repeat(2))
    with pytest.raises(ShapeError, match=r"x of a must have an axis of features"):
        tables({"a": (torch.randn(9), torch.randn(9))})


def test_pooled_source_with_an_empty_support_set_passes(tmp_path: Path) -> None:
    run = train(class_run("simpleshot", iterations=1), out=tmp_path / "run", source=blobs(), quiet=True)
    assert run.kept["step"] == 1
    assert train(linear_run(iterations=1), out=tmp_path / "linear", quiet=True).kept["step"] == 1
