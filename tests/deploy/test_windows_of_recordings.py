"""Of recordings that are asked about in several windows, each is told what is said of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

import quickstudy as qs
from quickstudy.deploy.adapt import Given, adapt
from quickstudy.deploy.model import Model
from quickstudy.registry import formats, learners, models, targets
from quickstudy.spec import TaskSpec
from quickstudy.training.learner import build_learner

RATE = 4000


def clip(seconds: float, tone: float, seed: int = 0) -> tuple[Any, int]:
    time = np.arange(int(seconds * RATE)) / RATE
    noise = np.random.default_rng([seed, int(tone)]).normal(0, 0.02, len(time))
    return (0.4 * np.sin(2 * np.pi * tone * time) + noise).astype(np.float32), RATE


@pytest.fixture(scope="module")
def model() -> Model:
    """Of two tones, believed as a run of drawings is: its embeddings have as many dimensions."""
    drawings = [np.random.default_rng(i).integers(0, 255, (1, 40, 40)).astype(np.uint8) for i in range(4)]
    like = qs.pretrained("handwriting", device="cpu").adapt(torch.tensor(np.stack(drawings)), list("abab"))
    assert like.trust is not None
    format = formats.make("audio", rate=RATE, seconds=0.5, mels=12, frame=0.032, hop=0.016, trim=0.0)
    config = qs.RunConfig(name="m", model=models.part("mlp", width=64), learner=learners.part("protonet"))
    built = build_learner(config, TaskSpec(format, targets.make("classes", ways=2)))
    given = Given(records=[clip(0.5, 200 + 300 * (i % 2), i) for i in range(8)], labels=["a", "b"] * 4)
    return adapt(config, built, built.init(torch.Generator().manual_seed(0)), given, {}, like.trust.trust)


def known(model: Model, records: Sequence[Any]) -> torch.Tensor:
    found = model.predict(records, false_alarms=0.05, coverage=0.9)
    assert found.known is not None and found.refused is not None and found.inside is not None
    assert len(found.known) == len(found.refused) == len(found.inside) == len(found) == len(records)
    return torch.stack([found.known, found.refused.to(found.known), found.inside.sum(1).to(found.known)])


def test_a_long_recording_does_not_tell_of_the_next(model: Model) -> None:
    short, other, long = clip(0.5, 500), clip(0.4, 1500), clip(1.9, 200)
    alone = torch.cat([known(model, [one]) for one in (long, other, short)], dim=1)
    assert torch.allclose(known(model, [long, other, short]), alone, atol=1e-5)


def test_a_recording_is_known_where_one_of_its_windows_is(model: Model) -> None:
    windows = [(clip(1.0, 200)[0][start : start + 2000], RATE) for start in (0, 1000, 2000)]
    assert float(known(model, [clip(1.0, 200)])[0, 0]) == pytest.approx(float(known(model, windows)[0].max()), abs=1e-5)


def test_what_is_asked_of_many_recordings_is_told(model: Model) -> None:
    many = known(model, [clip(0.5, 200)] * 260)
    assert torch.allclose(many, many[:, :1].expand_as(many), atol=1e-5)


def test_the_nearest_examples_are_those_of_each_recording(model: Model) -> None:
    both = model.told(model.spec.format.query([clip(1.9, 200), clip(0.5, 500)])).near
    alone = model.told(model.spec.format.query([clip(0.5, 500)])).near
    assert both is not None and alone is not None and both.shape == (2, 8)
    assert torch.allclose(both[1], alone[0], atol=1e-5)


def test_which_to_label_next_is_said_of_recordings(model: Model) -> None:
    records = [clip(0.5, 200), clip(3.9, 201), clip(0.5, 350), clip(0.5, 500)]
    assert sorted(model.next(records, count=4)) == [0, 1, 2, 3]
    assert len(set(model.next([clip(0.5, 200 + i % 2) for i in range(300)], count=300))) == 300
