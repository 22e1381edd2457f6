"""Inputs of none of a model's classes, as its user meets them, beside probabilities and distances."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.errors import ConfigError
from quickstudy.registry import learners
from quickstudy.targets.answers.classes import NONE, ClassAnswer
from quickstudy.trust.figures import auroc

DIMENSIONS, CLASSES, EACH = 12, 56, 24
WAYS, STRANGERS, TASKS = 5, 4, 24


def clusters(apart: float) -> tuple[Tensor, torch.Generator]:
    """Centres of classes whose members have the spread 1, and the randomness that goes on from there."""
    generator = torch.Generator().manual_seed(3)
    return apart * torch.randn((CLASSES + TASKS * (WAYS + STRANGERS), DIMENSIONS), generator=generator), generator


def members(centres: Tensor, each: int, generator: torch.Generator) -> Tensor:
    noise = torch.randn((len(centres), each, DIMENSIONS), generator=generator)
    return (centres[:, None] + noise).flatten(0, 1)


def names(each: int) -> list[str]:
    return [f"kind {i}" for i in range(WAYS) for _ in range(each)]


@pytest.fixture(scope="module", params=["protonet", "r2d2"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> qs.Run:
    """A small network, trained on clusters that are well apart: it is nearly always right, and sure of itself."""
    centres, generator = clusters(2.0)
    x = members(centres[:CLASSES], EACH, generator)
    source = qs.tasks.arrays(x, [c for c in range(CLASSES) for _ in range(EACH)], val=0.35, test=0.15)
    config = qs.RunConfig(
        name="o", learner=learners.part(request.param), ways=WAYS, shots=5, queries=5, iterations=120, device="cpu",
        validation_episodes=20, seed=1,
    )  # fmt: skip
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(DIMENSIONS, 48), nn.ReLU(), nn.Linear(48, DIMENSIONS))
    folder: Path = tmp_path_factory.mktemp("open")
    run = qs.train(config, module=net, source=source, out=folder / "run", quiet=True)
    run.fit_trust(160)
    return run


def asked(run: qs.Run) -> list[tuple[qs.Model, Tensor, Tensor]]:
    """Models of new tasks, with inputs of their classes and of others."""
    centres, generator = clusters(2.0)
    generator.manual_seed(4)
    found = []
    for own in torch.split(centres[CLASSES:], WAYS + STRANGERS):
        model = run.adapt(members(own[:WAYS], 5, generator), names(5))
        found.append((model, members(own[:WAYS], 20, generator), members(own[WAYS:], 25, generator)))
    return found


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_known_tells_strangers_apart_at_least_as_well_as_distances(run: qs.Run) -> None:
    by: dict[str, list[float]] = {"known": [], "probability": [], "distance": [], "confident": []}
    for model, mine, other in asked(run):
        here, there = model.predict(mine), model.predict(other)
        assert isinstance(here, ClassAnswer) and isinstance(there, ClassAnswer)
        assert here.known is not None and there.known is not None
        by["known"].append(auroc(here.known, there.known))
        plain = [model(x).softmax(1).amax(1) for x in (mine, other)]
        by["probability"].append(auroc(*plain))
        by["confident"].append(float((plain[1] > 0.9).float().mean()))
        assert model.trust is not None and model.trust.support is not None
        shown, y = model.trust.support.x, model.trust.support.y
        assert isinstance(shown, Tensor)
        middles = torch.stack([shown[y == c].mean(0) for c in range(WAYS)])
        embedded = [model.learner.embed(model.params, x) for x in (mine, other)]
        near = [-torch.cdist(z, middles).amin(1) for z in embedded if isinstance(z, Tensor)]
        by["distance"].append(auroc(*near))
    said = {name: round(mean(values), 3) for name, values in by.items()}
    gains = torch.tensor(by["known"]) - torch.tensor(by["distance"])
    error = 1.96 * float(gains.std()) / len(gains) ** 0.5
    assert float(gains.mean()) > -max(error, 0.005), said
    assert said["known"] > max(0.9, said["probability"]), said


def test_a_promised_rate_is_kept_and_strangers_are_told_so(run: qs.Run) -> None:
    alarms, refused = [], []
    for model, mine, other in asked(run):
        here, there = (model.predict(x, false_alarms=0.1) for x in (mine, other))
        assert isinstance(here, ClassAnswer) and isinstance(there, ClassAnswer)
        assert here.accepted is not None and there.accepted is not None
        alarms.append(float((~here.accepted).float().mean()))
        refused.append(float((~there.accepted).float().mean()))
        index = int((~there.accepted).nonzero()[0])
        assert there.told(index) == NONE and there.row(index)[there.columns.index("accepted")] == "no"
    assert 0.04 < mean(alarms) < 0.16, mean(alarms)
    assert mean(refused) > 0.6, mean(refused)


def test_background_bounds_what_of_it_is_taken_for_a_class(run: qs.Run) -> None:
    """New background is let in no more often than was asked for, whatever it is like."""
    model, inputs, _strangers = asked(run)[0]
    generator = torch.Generator().manual_seed(5)
    near = inputs.mean(0) + inputs.std() * torch.randn((400, DIMENSIONS), generator=generator)
    known, others = near[:199], near[199:]
    plain = model.predict(others, false_alarms=0.05)
    told = model.predict(others, false_alarms=0.05, background=known)
    assert isinstance(plain, ClassAnswer) and isinstance(told, ClassAnswer)
    assert plain.accepted is not None and told.accepted is not None and told.known is not None
    assert float(told.accepted.double().mean()) < 0.05 + 3 * (0.05 * 0.95 * (1 / 201 + 1 / 199)) ** 0.5
    assert not bool((told.accepted & ~plain.accepted).any())
    least = model.threshold(known, 0.05)
    of_known = model.predict(known).known  # type: ignore[attr-defined]
    assert int((of_known > least).sum()) == 9  # of the 199 and one more, 5 %
    with pytest.raises(ConfigError, match=r"needs 99 .*found 19"):
        model.threshold(known[:19], 0.01)
    of_few = model.predict(known[:19]).known  # type: ignore[attr-defined]
    assert model.threshold(known[:19], 0.05) == float(of_few.max())
    with pytest.raises(ConfigError, match="false_alarms=0.05"):
        model.predict(others, background=known)
