"""Sources around a source forward all that can be asked of one, and bytes in memory mean what they are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from quickstudy.episode import Episode
from quickstudy.errors import ConfigError, DataError
from quickstudy.formats.augment import Augment
from quickstudy.formats.base import Format
from quickstudy.formats.drawing import Film
from quickstudy.registry import formats, sources
from quickstudy.spec import TaskSpec
from quickstudy.tasks import arrays, tables
from quickstudy.tasks.base import Sampling, Source
from quickstudy.tasks.mixture import Mixture
from quickstudy.tasks.pooled import PooledSource
from quickstudy.tasks.transformed import Transformed
from quickstudy.tasks.wrapped import Wrapped

COPIES = {"sampled", "seeded", "to", "plain", "seen_as", "only_for", "under"}
QUESTIONS = {
    name
    for name in {*vars(Source), *Source.__annotations__}
    if not name.startswith("_") and name not in COPIES
}  # fmt: skip
WRAPPERS: dict[str, Callable[[Source], Wrapped]] = {
    "transformed": lambda source: Transformed(source=source),
    "mixture": lambda source: Mixture(first=source, second=source, share=0.0),
}


def bytes_of_classes() -> tuple[Tensor, list[int]]:
    """Ages, counts …: sixty rows of four whole numbers below 200, of twelve classes."""
    x = torch.randint(0, 200, (60, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return x, [i % 12 for i in range(60)]


@dataclass(frozen=True, kw_only=True)
class Telltale(Source):
    """Answers every question with something that no default is, and notes that it was asked."""

    spec: TaskSpec = arrays(*bytes_of_classes()).spec
    sampling: Sampling = Sampling(ways=2, shots=2, queries=3)
    seed: int = 17
    asked: list[str] = field(default_factory=list, compare=False)

    @property
    def balanced(self) -> bool:
        return False

    @property
    def repeats(self) -> bool:
        return True

    @property
    def longest(self) -> int:
        return 9

    def under(self, learner: Any, params: Any) -> Telltale:
        self.asked.append("under")
        return self

    def filmed(self, split: str, index: int) -> Film | None:
        return Film(gif=b"", of=(split,), steps=index, shown=1)

    def others(self) -> dict[str, Source]:
        return {"another": self}

    def computed(self) -> dict[str, float]:
        return {"the best": 0.25}

    def episodes(self, split: str, indices: Tensor) -> Episode:
        self.asked.append("episodes")
        return arrays(*bytes_of_classes()).sampled(self.sampling).seeded(self.seed).episodes(split, indices)

    def sampled(self, sampling: Sampling) -> Telltale:
        return replace(self, sampling=sampling)

    def seeded(self, seed: int) -> Telltale:
        return replace(self, seed=seed)

    def to(self, device: torch.device | str) -> Telltale:
        self.asked.append(f"to {device}")
        return self

    def plain(self) -> Telltale:
        self.asked.append("plain")
        return self

    def seen_as(self, format: Format) -> Telltale:
        self.asked.append("seen_as")
        return self

    def only_for(self, split: str) -> Telltale:
        self.asked.append("only_for")
        return self

    def parts(self, split: str) -> dict[str, Source]:
        return {f"a part of {split}": self}

    def known(self, split: str) -> None:
        self.asked.append("known")

    def check(self, split: str) -> None:
        self.asked.append("check")

    def classes(self, split: str) -> list[str]:
        return [f"a class of {split}"]

    def arms(self, split: str) -> list[str]:
        return [f"an arm of {split}", "another"]

    def arms_of(self, split: str, indices: Tensor) -> Tensor:
        return indices[:, None] % 2

    def class_names(self, split: str, index: int) -> list[str]:
        return [f"{split} {index}"]


ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "episodes": ("val", torch.arange(2)),
    "known": ("a split of its own",),
    "check": ("a split of its own",),
    "classes": ("val",),
    "arms": ("val",),
    "arms_of": ("val", torch.arange(2)),
    "parts": ("val",),
    "class_names": ("val", 3),
    "others": (),
    "filmed": ("val", 3),
    "computed": (),
}


def test_the_base_of_wrappers_overrides_all_that_a_source_has() -> None:
    assert {*QUESTIONS, *COPIES} <= {name for name in vars(Wrapped) if not name.startswith("_")}
    asked = {"spec", "sampling", "seed", "balanced", "repeats", "longest", *ARGUMENTS}
    assert asked == QUESTIONS, "a new question needs arguments above"
    overridden = {name for name in {*QUESTIONS, *COPIES} if name in vars(Telltale) or name in Telltale.__annotations__}
    assert overridden == {*QUESTIONS, *COPIES}, "the source below must answer it otherwise than by default"


@pytest.mark.parametrize("name", sorted(QUESTIONS))
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_question_is_answered_by_the_inner_source(wrapper: str, name: str) -> None:
    inner = Telltale()
    outer = WRAPPERS[wrapper](inner)
    mine, theirs = getattr(outer, name), getattr(inner, name)
    if name not in ARGUMENTS:
        assert mine == theirs and (inspect.isroutine(mine) is False)
        return
    inner.asked.clear()
    said, wanted = mine(*ARGUMENTS[name]), theirs(*ARGUMENTS[name])
    if name == "episodes":
        assert torch.equal(said.query.x, wanted.query.x)
    if name in ("parts", "others"):
        said = {part: wrapped.inner for part, wrapped in said.items()}
    assert inner.asked in ([], [name, name])
    if isinstance(said, Tensor):
        assert torch.equal(said, wanted)
    elif name != "episodes":
        assert said == wanted


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_copies_are_the_same_wrapper_around_a_copy(wrapper: str) -> None:
    inner = Telltale()
    outer = WRAPPERS[wrapper](inner)
    small = replace(inner.sampling, shots=1)
    for copy, wanted in (
        (outer.sampled(small), (small, 17)),
        (outer.seeded(5), (inner.sampling, 5)),
        (outer.to("cpu"), (inner.sampling, 17)),
        (outer.plain(), (inner.sampling, 17)),
        (outer.seen_as(inner.spec.format), (inner.sampling, 17)),
        (outer.only_for("test"), (inner.sampling, 17)),
        (outer.under(None, {}), (inner.sampling, 17)),
    ):
        assert type(copy) is type(outer) and copy is not outer
        assert (copy.inner.sampling, copy.inner.seed) == (copy.sampling, copy.seed) == wanted
    assert {"to cpu", "plain", "seen_as", "only_for", "under"} <= set(inner.asked)
    assert (outer.sampling, outer.seed) == (inner.sampling, 17)


def test_a_mixture_of_unbalanced_tasks_is_unbalanced() -> None:
    source = sources.make("structural")
    assert not source.balanced
    assert not Mixture(first=source, second=source, share=0.5).balanced and not Transformed(source=source).balanced


def test_a_mixture_checks_and_names_both_in_training_alone() -> None:
    first, second = Telltale(), Telltale()
    mixed = Mixture(first=first, second=second, share=0.5)
    mixed.check("val")
    assert (first.asked, second.asked) == (["check"], [])
    mixed.check("train")
    assert (first.asked, second.asked) == (["check", "check"], ["check"])
    assert len(mixed.classes("train")) == 2 and len(mixed.classes("val")) == 1


def test_a_pooled_source_changes_the_size_of_its_tasks_and_forwards_the_rest() -> None:
    inner = arrays(*bytes_of_classes()).seeded(17)
    pooled = PooledSource(source=inner, batch=6)
    assert isinstance(pooled, PooledSource) and isinstance(pooled, Wrapped)
    changed = {name for name in QUESTIONS | COPIES if name in vars(PooledSource)}
    assert changed == {"spec", "sampling", "sampled", "check", "episodes", "class_names", "arms"}, (
        "all else is the inner source's"
    )
    classes = len(inner.classes("train"))
    assert (pooled.sampling, pooled.spec) == (Sampling(ways=classes, shots=0, queries=1), inner.spec.at(classes))
    assert (pooled.seed, pooled.seeded(3).seed, pooled.balanced) == (17, 3, True)
    assert pooled.classes("val") == inner.classes("val")
    assert pooled.to("cpu").batch == pooled.plain().batch == 6
    with pytest.raises(ConfigError, match="Did you mean 'train'"):
        pooled.check("trian")
    with pytest.raises(ConfigError, match="no ways and shots to change"):
        pooled.sampled(Sampling())


@pytest.mark.parametrize("symmetries", [1, 4])
def test_the_classes_of_a_pooled_task_are_named_by_their_ids(symmetries: int) -> None:
    """Class c is a lone pixel as bright as c + 1, in a corner that tells how it is turned."""
    x, y = torch.zeros(24, 1, 3, 3), torch.arange(6).repeat(4)
    x[:, 0, 0, 0] = (y + 1) / 10
    format = formats.make("image", size=3, channels=1)
    inner = arrays(x, y, format=format, symmetries=symmetries, val=0.2, test=0.2)
    pooled = PooledSource(source=inner, batch=60)
    names, query = pooled.class_names("train", 0), pooled.episodes("train", torch.arange(1)).query
    assert isinstance(query.x, Tensor) and len(names) == pooled.spec.ways == len(set(names))
    seen = set()
    for image, label in zip(query.x[0], query.y[0].tolist(), strict=True):
        name, _, turn = names[label].partition(" (symmetry ")
        turned = format.turned(x[int(name)][None], torch.tensor([int(turn.rstrip(")") or 0)]))
        assert isinstance(turned, Tensor) and torch.equal(image, turned[0])
        seen.add(label)
    assert seen == set(range(pooled.spec.ways))


def test_bytes_are_numbers_in_arrays_and_tables_alike() -> None:
    x, y = bytes_of_classes()
    of_classes = arrays(x, y).sampled(Sampling(2, 1, 2))
    of_numbers = tables([(x[i::6], torch.rand(10)) for i in range(6)]).sampled(Sampling(1, 2, 2))
    rows = {tuple(row) for row in x.float().tolist()}
    for source in (of_classes, of_numbers):
        drawn = source.episodes("train", torch.arange(20)).support.x
        assert isinstance(drawn, Tensor) and drawn.dtype == torch.float32
        assert {tuple(row) for row in drawn.flatten(0, 1).tolist()} <= rows


@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_are_pixels_where_the_format_says_so(channels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (24, channels, 5, 5), dtype=torch.uint8, generator=generator)
    y = [i % 6 for i in range(24)]
    size = Sampling(2, 1, 2)
    shown = arrays(x, y, format=formats.make("image", size=5, channels=channels)).sampled(size)
    plain = arrays(x, y).sampled(size)
    indices = torch.arange(20)
    pixels, numbers = (source.episodes("train", indices).query.x for source in (shown, plain))
    assert isinstance(pixels, Tensor) and isinstance(numbers, Tensor)
    torch.testing.assert_close(pixels, numbers / 255)
    assert pixels.max() <= 1 < numbers.max() and shown.pool.x.dtype == torch.uint8


@pytest.mark.parametrize("options", [{"symmetries": 4}, {"augmentation": Augment(rotate=5)}])
def test_what_distorts_is_for_images_alone(options: dict[str, Any]) -> None:
    x = torch.randint(0, 256, (24, 1, 5, 5), dtype=torch.uint8)
    y = [i % 6 for i in range(24)]
    with pytest.raises(ConfigError, match="need square images"):
        arrays(x, y, **options)
    shown = arrays(x, y, format=formats.make("image", size=5, channels=1), **options).sampled(Sampling(2, 1, 2))
    indices = torch.arange(20)
    changed, plain = (s.episodes("train", indices).query.x for s in (shown, replace(shown, symmetries=1).plain()))
    assert not torch.equal(torch.as_tensor(changed), torch.as_tensor(plain))


def test_class_labels_that_are_quantities_are_refused() -> None:
    x, y = bytes_of_classes()
    assert arrays(x, [float(label) for label in y]).pool.names[:2] == ("0.0", "1.0")
    with pytest.raises(DataError, match="class 0.5 for example 0, which looks like a quantity"):
        arrays(x, [label + 0.5 for label in y])
