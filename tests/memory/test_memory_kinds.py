"""A memory works over every format and target: several tensors for an example, fewer columns, errors as figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.episode import Examples, Features
from quickstudy.errors import DataError, ShapeError
from quickstudy.formats.base import Format
from quickstudy.formats.layout import Leaf
from quickstudy.formats.records import Broken, Records, Stored, all_kept
from quickstudy.learners import memory
from quickstudy.learners.describe import LENGTH
from quickstudy.memory import Bank, Entry, Memory
from quickstudy.memory.codec import encode
from quickstudy.memory.health import merge
from quickstudy.memory.runs import adapted, as_memory, search
from quickstudy.registry import formats, targets
from quickstudy.spec import TaskSpec
from quickstudy.training.learner import build_learner


@dataclass(frozen=True, kw_only=True)
class Pairs(Format):
    """Two vectors for each example."""

    @property
    def layout(self) -> Mapping[str, Leaf]:
        return {"left": Leaf((3,)), "right": Leaf((2,))}

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        return all_kept(records)


class Both(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(5, 8), nn.Linear(8, outputs)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        hidden: Tensor = self.out(torch.tanh(self.hidden(torch.cat([left, right], dim=1))))
        return hidden


def support(seed: int, y: Tensor) -> Examples:
    drawn = torch.Generator().manual_seed(seed)
    x: Features = {"left": torch.randn(len(y), 3, generator=drawn), "right": torch.randn(len(y), 2, generator=drawn)}
    return Examples(x, y, torch.ones(len(y), dtype=torch.bool))


@pytest.mark.parametrize("describe", ["features", "task2vec"])
@pytest.mark.parametrize(("target", "y"), [("classes", torch.arange(6) % 3), ("numbers", torch.arange(6.0)[:, None])])
def test_examples_of_several_tensors_are_remembered(describe: Any, target: str, y: Tensor, tmp_path: Path) -> None:
    asked = targets.make("classes", ways=3) if target == "classes" else targets.make("numbers")
    spec = TaskSpec(Pairs(), asked)
    learner = memory(Both(spec.outputs), spec, lr=0.05, steps=2, describe=describe, near=-1.0)
    filled = Memory(Bank(tmp_path), learner, learner.init(torch.Generator().manual_seed(0)), keep="examples")
    ids = [filled.adapt(support(seed, y), remember=True, name=f"task {seed}").id for seed in range(3)]
    again = filled.adapt(support(1, y))
    assert again.recalled[0][0].id == ids[1] and again.recalled[0][1] == pytest.approx(1.0, abs=1e-4)
    kept = filled.bank.support(str(ids[1]))
    assert kept is not None and isinstance(kept.x, dict) and filled.bank.check() == {}
    for name, value in kept.x.items():
        assert torch.equal(value, support(1, y).x[name])  # type: ignore[index]
    with pytest.raises(ShapeError, match="right"):
        filled.search(Examples({"left": torch.zeros(6, 3)}, y, kept.mask))


def test_a_table_of_fewer_columns_is_a_task_for_a_network_that_takes_them(tmp_path: Path) -> None:
    parts = {
        "tasks": qs.registry.sources.part("glyphs"),
        "model": qs.registry.models.part("columns"),
        "learner": qs.registry.learners.part("maml", lr=0.05, steps=2),
    }
    config = as_memory(qs.RunConfig(name="x", **parts), near=-1.0)
    spec = TaskSpec(formats.make("table", columns=3), targets.make("classes", ways=2))
    learner: Any = build_learner(config, spec)
    facts = {"config": config.to_json(), "spec": spec.to_json()}
    filled = Memory(Bank(tmp_path), learner, learner.init(torch.Generator().manual_seed(0)), facts=facts)
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    labels = ["low", "high"] * 4
    records = [Records(part.tolist(), [""] * 8, labels) for part in (x, x[:, :2])]
    first = adapted(filled, records[0], remember=True, name="wide")[0]
    solved, model = adapted(filled, records[1], remember=True, name="narrow")
    assert model.spec.input_shape == (2,) and model.predict(x[:, :2]).probabilities.shape == (8, 2)
    assert solved.recalled[0][0].id == first.id
    assert [entry.name for entry, _ in search(filled, records[1])] == ["narrow", "wide"]
    assert filled.bank.entries()[1].statistics["shape"] == [2]


def test_of_what_is_merged_the_least_error_is_the_best(tmp_path: Path) -> None:
    """Parameters that are not related are not averaged: those of the best task stay."""
    bank = Bank(tmp_path)
    base = bank.phi.add("ba5e", {"network.w": torch.zeros(2)}, {"body": ["w"]})
    values = {0.5: torch.tensor([1.0, 0.0]), 0.1: torch.tensor([0.0, 1.0]), 0.9: torch.tensor([-1.0, 0.0])}
    alike = torch.ones(LENGTH)
    entries = [
        Entry(f"error {error}", "abc", base, "MemoryLearner", "float32", alike, metrics={"support mse": error})
        for error in values
    ]
    bank.add(
        [(entry, encode({"w": w}, {}, "float32"), None) for entry, w in zip(entries, values.values(), strict=True)]
    )
    assert merge(bank, 0.99) == 2
    (merged,) = bank.entries()
    assert merged.name == "error 0.1" and torch.equal(bank.load(merged.id)["w"], values[0.1])


def test_nothing_is_learned_from_no_example(tmp_path: Path) -> None:
    spec = TaskSpec(Pairs(), targets.make("classes", ways=3))
    learner = memory(Both(3), spec)
    filled = Memory(Bank(tmp_path), learner, learner.init(torch.Generator().manual_seed(0)))
    x, y, mask = support(0, torch.arange(6) % 3)
    with pytest.raises(DataError, match="no example to learn from"):
        filled.search(Examples(x, y, ~mask))
    with pytest.raises(DataError, match="no example to be judged on"):
        filled.adapt(Examples(x, y, mask), query=Examples(x, y, ~mask))
