"""Examples of a pool are embedded once: tasks are the same as where each is embedded anew."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from quickstudy.engine import Engine
from quickstudy.engine.embedded import Book, EmbeddedSource, on_embeddings
from quickstudy.engine.vectorize import tasks_of
from quickstudy.formats.augment import Augment
from quickstudy.learners.embedding import protonet
from quickstudy.learners.maml_family import maml
from quickstudy.registry import formats
from quickstudy.spec import TaskSpec
from quickstudy.targets.classes import Classes
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.pool import TensorPool
from quickstudy.trust.draw import Size, tried

CLASSES, EACH = 12, 9


def images(symmetries: int = 4, augmented: tuple[str, ...] = ("train",)) -> ClassSource:
    x = torch.randint(0, 256, (CLASSES * EACH, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    format = formats.make("image", size=8, channels=1)
    stored = format.store(x[:, None].float() / 255).x
    labels = torch.arange(CLASSES).repeat(EACH)
    pool = TensorPool.from_labels(format, stored, labels, [f"c{i}" for i in range(CLASSES)])
    splits = {"train": torch.arange(4), "val": torch.arange(4, CLASSES)}
    return ClassSource(
        pool=pool, splits=splits, spec=TaskSpec(format, Classes(ways=3)), sampling=Sampling(3, 2, 2),
        symmetries=symmetries, augmentation=Augment(rotate=20.0), augmented_splits=augmented,
    )  # fmt: skip


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())


@pytest.mark.parametrize("symmetries", [1, 4])
def test_tasks_on_embeddings_are_those_on_images(symmetries: int) -> None:
    source = images(symmetries)
    learner = protonet(network(), source.spec, views=True)
    params = learner.init(torch.Generator().manual_seed(0))
    params = learner.calibrate(params, list(tasks_of(source.plain().episodes("train", torch.arange(4)))))
    engine = Engine(learner, torch.device("cpu"))
    inner, embedded = on_embeddings(engine, params, source, "val")
    assert isinstance(embedded, EmbeddedSource) and embedded.spec.input_shape == (4 * 6 * 6,)
    size = Size(ways=3, shots=2, strange=2, queries=3, tasks=20)
    both = [list(tried(e, params, s, "val", size)) for e, s in ((engine, source), (inner, embedded))]
    assert len(both[0]) == len(both[1]) == 20
    for one, other in zip(*both, strict=True):
        assert one.number == other.number and torch.equal(one.y, other.y)
        torch.testing.assert_close(one.logits, other.logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(one.evidence.features, other.evidence.features, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(one.familiar, other.familiar, rtol=1e-3, atol=1e-3)


def test_each_example_is_embedded_once_and_forgotten_where_there_is_no_room() -> None:
    seen: list[int] = []

    def make(numbers: Tensor) -> Tensor:
        seen.extend(numbers.tolist())
        return numbers[:, None].float() * torch.tensor([1.0, 2.0])

    book = Book(make, 10, most=10)
    for asked in ([3, 1, 3], [1, 4, 9]):
        assert torch.equal(book(torch.tensor(asked)), torch.tensor([[n, 2.0 * n] for n in asked]))
    assert sorted(seen) == [1, 3, 4, 9]
    asked = [0, 1, 2]  # six numbers each hold two: beyond ten, and so made anew
    assert torch.equal(book(torch.tensor(asked)), torch.tensor([[n, 2.0 * n] for n in asked]))
    assert sorted(seen) == [0, 1, 1, 2, 3, 4, 9]
    assert torch.equal(book(torch.tensor([9])), torch.tensor([[9, 18.0]]))


class Centred(nn.Module):
    """What it makes of an example depends on those beside it, without a BatchNorm that would tell."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 16)

    def forward(self, x: Tensor) -> Tensor:
        z = self.linear(x.flatten(1))
        return z - z.mean(0)


def test_what_no_learner_embeds_and_what_is_augmented_is_left_as_it_is() -> None:
    source = images()
    embedding = protonet(network(), source.spec)
    stepping = maml(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), source.spec)
    for learner, tasks in (
        (stepping, source),
        (protonet(network(), source.spec, norm="batch"), source),
        (embedding, images(augmented=("train", "val"))),
        (protonet(Centred(), source.spec), source),
    ):
        params = learner.init(torch.Generator().manual_seed(0))
        engine, found = on_embeddings(Engine(learner, torch.device("cpu")), params, tasks, "val")
        assert engine.learner is learner and not isinstance(found, EmbeddedSource)
