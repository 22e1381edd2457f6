"""Several formats in one run, with an encoder each: what their features are, and one learner over all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.engine.encoded import Encoder
from quickstudy.errors import ConfigError, ShapeError
from quickstudy.formats.augment import Augment
from quickstudy.registry import formats, learners
from quickstudy.tasks import Domains, arrays
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.classes import ClassSource

IMAGES = formats.make("image", size=4, channels=1)


class Tokens(nn.Module):
    """The mean of the embeddings of a text's tokens."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(count, 5)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        known = (attention_mask > 0)[..., None]
        return (self.embedding(input_ids) * known).sum(1) / known.sum(1).clamp(min=1)


def images(**options: object) -> ClassSource:
    y = [i % 12 for i in range(120)]
    level = torch.tensor(y)[:, None, None, None] / 12
    x = level.expand(-1, 1, 4, 4) + 0.02 * torch.rand(120, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return arrays(x.clamp(max=1), y, format=IMAGES, **options)  # type: ignore[arg-type]


def encoder(size: int = 8) -> Encoder:
    torch.manual_seed(0)
    return Encoder(nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.ReLU()), IMAGES, size)


def test_features_take_the_place_of_records_in_the_same_tasks() -> None:
    one, source = encoder(), images().sampled(Sampling(2, 2, 3))
    found = one.source(source)
    assert found.spec.format == formats.make("array", shape=(8,))
    indices = torch.arange(5)
    seen, told = source.episodes("train", indices), found.episodes("train", indices)
    assert isinstance(told.query.x, Tensor) and torch.equal(told.query.y, seen.query.y)
    assert isinstance(seen.query.x, Tensor)
    direct = one.module(seen.query.x.flatten(0, 1)).view(5, -1, 6)
    assert torch.allclose(told.query.x[..., :6], direct, atol=1e-6) and not told.query.x[..., 6:].any()
    assert torch.allclose(one.features(seen.query.x[0]), told.query.x[0], atol=1e-6)


def test_records_go_where_the_encoder_is() -> None:
    elsewhere = replace(encoder(), device="meta")  # where numbers have a place and a shape, and no value
    found = elsewhere.features(torch.rand(3, 1, 4, 4))
    assert found.device.type == "meta" and found.shape == (3, 8)


def test_what_has_no_features_that_last_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be kept"):
        encoder().source(images(augmentation=Augment(rotate=10)))
    with pytest.raises(ConfigError, match="cannot be kept"):
        encoder().source(arrays(torch.rand(60, 3), [i % 6 for i in range(60)]))
    with pytest.raises(ShapeError, match="6 numbers, more than size=4"):
        encoder(4).features(torch.rand(2, 1, 4, 4))


def test_images_and_texts_in_one_run(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    words = ["owl", "wren", "tern", "swan", "rook", "kite", "crow", "lark", "dove", "ibis", "rail", "coot"]
    texts = [f"a {word} and a {word} {i}" for i in range(10) for word in words]
    format = formats.make("text", length=12).learn(texts)
    written = arrays(texts, [word for _ in range(10) for word in words], format=format)
    reader = Encoder(Tokens(format.layout["input_ids"].below or 0), format, 8)
    members = {"images": encoder().source(images()), "texts": reader.source(written)}
    config = qs.RunConfig(
        name="both", learner=learners.part("protonet"), ways=2, shots=2, queries=3, iterations=3,
        validation_episodes=2, device="cpu",
    )  # fmt: skip
    run = qs.train(config, module=nn.Linear(8, 8), source=Domains(members=members), out=tmp_path / "run", quiet=True)
    result = run.evaluate(episodes=20)
    assert list(result.domains) == ["images", "texts"]
    assert min(one.mean for one in result.domains.values()) > 0.6
    model = run.adapt(reader.features(["a gull and a gull", "a hawk and a hawk"]), ["gull", "hawk"])
    assert model.predict(reader.features(["a gull and a gull 3"])).names == ["gull"]


def test_records_that_are_none_of_the_encoders_are_refused() -> None:
    with pytest.raises(ShapeError, match="records has size 9 along axis 1, expected 1"):
        encoder().features(torch.rand(3, 9, 4, 4))
