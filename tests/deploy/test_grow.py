"""A model that grows is the model that all examples at once would have given; what is forgotten never was there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy.deploy.adapt import Given, adapt
from quickstudy.deploy.model import Model
from quickstudy.errors import ConfigError
from quickstudy.learners import Learner
from quickstudy.registry import formats, learners, models, targets
from quickstudy.spec import TaskSpec
from quickstudy.training.learner import build_learner

VECTORS = TaskSpec(formats.make("array", shape=(6,)), targets.make("classes", ways=3))
VALUES = replace(VECTORS, target=targets.make("numbers"))
NAMES = ("ant", "bee", "cow", "dog")
PLAIN = [name for name in learners if not (t := learners.traits(name)).acts and not t.dense and not t.context]


def clusters(names: tuple[str, ...] = NAMES, shots: int = 3, seed: int = 0) -> tuple[Tensor, list[str]]:
    """Points around a centre of each class."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(len(NAMES), 6, generator=torch.Generator().manual_seed(7)) * 2
    labels = [name for name in names for _ in range(shots)]
    noise = torch.randn(len(labels), 6, generator=generator)
    return centres[[NAMES.index(name) for name in labels]] + noise, labels


def built(name: str, spec: TaskSpec = VECTORS, **options: object) -> tuple[qs.RunConfig, Learner, dict[str, Tensor]]:
    """A learner with an untrained network, in float64 so that 1e-6 means something."""
    config = qs.RunConfig(name="m", model=models.part("mlp", width=8, depth=1), learner=learners.part(name, **options))
    learner = build_learner(config, spec, classes=6)
    params = learner.init(torch.Generator().manual_seed(0))
    return config, learner, {n: v.double() if v.is_floating_point() else v for n, v in params.items()}


def at_once(
    name: str, x: Tensor, labels: object, spec: TaskSpec = VECTORS, keep: bool = True, single: bool = False
) -> Model:
    config, learner, params = built(name, spec)
    params = {n: v.float() if single and v.is_floating_point() else v for n, v in params.items()}
    return adapt(config, learner, params, Given(records=x, labels=labels, keep=keep))


def same(one: Model, other: Model, x: Tensor, tolerance: float = 1e-6) -> bool:
    """Whether two models say the same of x, whatever their classes are numbered as."""
    asked = x.to(torch.float32)
    said = {name: one.predict(asked).probabilities[:, i] for i, name in enumerate(one.names)}
    told = {name: other.predict(asked).probabilities[:, i] for i, name in enumerate(other.names)}
    return said.keys() == told.keys() and all(
        torch.allclose(said[n].double(), told[n].double(), atol=tolerance) for n in said
    )


def of(names: tuple[str, ...], x: Tensor, labels: list[str]) -> tuple[Tensor, list[str]]:
    rows = [i for i, label in enumerate(labels) if label in names]
    return x[rows], [labels[i] for i in rows]


def tallying() -> list[str]:
    """The learners that make sums of a support set."""
    x, labels = clusters(NAMES[:3])
    found = []
    for name in PLAIN:
        model = at_once(name, x, labels, keep=False)
        assert model.kept is None
        if model.tally is not None:
            found.append(name)
    return found


def test_learners_in_closed_form_have_sums() -> None:
    assert set(tallying()) >= {"protonet", "r2d2", "lrd2", "matchingnet", "relationnet", "feat", "semi-protonet"}


@pytest.mark.parametrize("name", tallying())
@pytest.mark.parametrize("keep", [True, False])
def test_classes_that_come_one_by_one_are_as_all_at_once(name: str, keep: bool) -> None:
    x, labels = clusters()
    whole, asked = at_once(name, x, labels), clusters(seed=5)[0]
    for order in [("ant", "bee", "cow", "dog"), ("dog", "bee", "ant", "cow")]:
        model = at_once(name, *of(order[:2], x, labels), keep=keep)
        for one in order[2:]:
            model = model.more(*of((one,), x, labels))
        assert model.names == whole.names and model.spec.ways == 4 and model.count == 12
        assert same(model, whole, asked)


@pytest.mark.parametrize("name", tallying())
@pytest.mark.parametrize("keep", [True, False])
def test_shots_that_come_later_are_as_all_at_once(name: str, keep: bool, tmp_path: Path) -> None:
    x, labels = clusters(shots=4)
    first = [i for i in range(len(labels)) if i % 4 in (0, 1)]
    rest = [i for i in range(len(labels)) if i not in first]
    model = at_once(name, x[first], [labels[i] for i in first], keep=keep)
    grown = model.more(x[rest], [labels[i] for i in rest])
    assert same(grown, at_once(name, x, labels), clusters(seed=5)[0])
    if learners.traits(name).pretrains:
        return  # what is stored of them names its training classes, of which there are none here
    at_once(name, x[first], [labels[i] for i in first], keep=keep, single=True).save(tmp_path / "m")
    stored = qs.load(tmp_path / "m", device="cpu").more(x[rest], [labels[i] for i in rest])
    assert same(stored, grown, clusters(seed=5)[0], 1e-4)


@pytest.mark.parametrize("name", PLAIN)
def test_every_learner_grows_from_the_examples_that_it_keeps(name: str) -> None:
    x, labels = clusters()
    rows = torch.randperm(len(labels), generator=torch.Generator().manual_seed(3)).tolist()
    parts = [rows[:7], rows[7:9], rows[9:]]
    if getattr(built(name)[1], "limit", None) == 3:  # a network that was built for three classes learns no fourth
        parts = [[i for i in part if labels[i] != "dog"] for part in parts]
    whole = at_once(name, x[[i for part in parts for i in part]], [labels[i] for part in parts for i in part])
    model = at_once(name, x[parts[0]], [labels[i] for i in parts[0]])
    for part in parts[1:]:
        model = model.more(x[part], [labels[i] for i in part])
    assert model.names == whole.names and torch.equal(model(x), whole(x))


@pytest.mark.parametrize("name", ["r2d2", "maml", "cnp"])
def test_numbers_grow_as_well(name: str) -> None:
    x = clusters()[0]
    y = x[:, :1] + 0.1 * x[:, 1:2]
    whole = at_once(name, x, y, VALUES)
    for keep in (True, False):
        model = at_once(name, x[:5], y[:5], VALUES, keep=keep)
        if name != "r2d2" and not keep:
            with pytest.raises(ConfigError, match=r"neither kept.*keep=True"):
                model.more(x[5:], y[5:])
            continue
        grown = model.more(x[5:], y[5:])
        assert torch.allclose(grown(x), whole(x), atol=1e-6) and grown.count == 12
        back = grown.without(examples=x[5:], labels=y[5:])
        assert torch.allclose(back(x), model(x), atol=1e-6) and back.count == 5
