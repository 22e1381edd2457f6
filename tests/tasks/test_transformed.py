"""What is done to a task so that it cannot be guessed: exactly that, at random, repeatably, and in training alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from guessable import Guessable
from small_tasks import classes
from torch import Tensor

from quickstudy import registry
from quickstudy.averaging.runs import train_on_parts
from quickstudy.cli.parse import parse
from quickstudy.cli.settings import Settings
from quickstudy.episode import Episode, leaves
from quickstudy.errors import ConfigError, QuickstudyError
from quickstudy.registry import learners, models, sources
from quickstudy.spec import TaskSpec
from quickstudy.tasks import arrays, sinusoid
from quickstudy.tasks.base import Sampling, Source
from quickstudy.tasks.transformed import Transformed, transformed
from quickstudy.testing import check_source
from quickstudy.training.build import build
from quickstudy.training.config import RunConfig

TASKS = torch.arange(40)
VARYING = Sampling(ways=5, shots=3, queries=2, min_ways=2, min_shots=1)


def points() -> Source:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(30).repeat_interleave(8)
    return arrays(torch.randn(len(y), 4, generator=generator), y, val=0.3, test=0.3)


@pytest.mark.parametrize(
    "source",
    [
        Transformed(source=Guessable(), shuffle_labels=True),
        Transformed(source=points().sampled(VARYING), shuffle_labels=True, shuffle_order=True),
        Transformed(source=sinusoid(), target_offset=2.0, shuffle_order=True),
    ],
    ids=["guessable", "arrays", "sinusoid"],
)
def test_transformed_sources_keep_the_contract(source: Source) -> None:
    check_source(source, disjoint=not isinstance(getattr(source, "source", None), Guessable))


def by_task(plain: Episode, changed: Episode, index: int, part: int) -> set[tuple[int, int]]:
    """The pairs of old and new class id among the real examples."""
    mask = plain[part].mask[index]
    return set(zip(plain[part].y[index][mask].tolist(), changed[part].y[index][mask].tolist(), strict=True))


def test_class_ids_change_places_in_support_and_query_alike() -> None:
    source = points().sampled(VARYING)
    plain = source.episodes("train", TASKS)
    changed = Transformed(source=source, shuffle_labels=True).episodes("train", TASKS)
    moved = 0
    for index in range(len(TASKS)):
        support, query = by_task(plain, changed, index, 0), by_task(plain, changed, index, 1)
        assert support == query, "a class has one new id"
        assert {old for old, _ in support} == {new for _, new in support}, "the ids of a task stay the same numbers"
        moved += sum(old != new for old, new in support)
    assert moved > len(TASKS)
    for one, other in zip(plain, changed, strict=True):
        assert torch.equal(one.y[~one.mask], other.y[~one.mask]), "padding keeps its id"
        assert torch.equal(torch.as_tensor(one.x), torch.as_tensor(other.x))
        assert torch.equal(one.mask, other.mask)


def test_every_order_of_the_ids_is_equally_likely() -> None:
    indices = torch.arange(3000)
    source = points().sampled(Sampling(ways=3, shots=1, queries=1))
    orders = Transformed(source=source, shuffle_labels=True).episodes("train", indices).query.y
    _, counts = orders.unique(dim=0, return_counts=True)
    assert len(counts) == 6
    assert float((counts - 500).square().sum() / 500) < 20.5, "chi-squared of 5 degrees of freedom, p = 0.001"


def test_names_follow_the_new_ids() -> None:
    source = Guessable(noise=0.01)
    shuffled = Transformed(source=source, shuffle_labels=True)
    turned = 0
    for index in range(20):
        names, x, y = shuffled.class_names("val", index), *shuffled.episodes("val", torch.tensor([index])).query[:2]
        assert isinstance(x, Tensor)
        for label, name in enumerate(names):
            torch.testing.assert_close(x[0][y[0] == label].mean(0), source.centre(name), atol=0.03, rtol=0)
        turned += names != source.class_names("val", index)
    assert 4 <= turned <= 16


def test_one_offset_for_each_task_of_the_spread_that_was_asked_for() -> None:
    indices = torch.arange(4000)
    plain = sinusoid().sampled(Sampling(ways=1, shots=5, queries=3, min_shots=2))
    one, other = (
        plain.episodes("train", indices),
        Transformed(source=plain, target_offset=3.0).episodes("train", indices),
    )
    added = [b.y - a.y for a, b in zip(one, other, strict=True)]
    offset = added[1][:, :1]
    torch.testing.assert_close(added[1], offset.expand_as(added[1]), atol=1e-5, rtol=0)
    mask = one.support.mask[..., None]
    torch.testing.assert_close(added[0], torch.where(mask, offset, torch.zeros(())), atol=1e-5, rtol=0)
    assert float(offset.mean()) == pytest.approx(0, abs=4 * 3 / 4000**0.5)
    assert float(offset.std()) == pytest.approx(3, rel=0.05)
    assert torch.equal(torch.as_tensor(one.query.x), torch.as_tensor(other.query.x))


@dataclass(frozen=True, kw_only=True)
class _Dicts(Guessable):
    spec: TaskSpec = classes((), 2)

    def episodes(self, split: str, indices: Tensor) -> Episode:
        drawn = super().episodes(split, indices)
        return Episode(*(p._replace(x={"a": p.x, "b": p.x[..., 0]}) for p in drawn))  # type: ignore[dict-item, index]


@pytest.mark.parametrize("source", [points().sampled(VARYING), _Dicts()], ids=["tensors", "dicts"])
def test_examples_come_in_another_order_and_stay_whole(source: Source) -> None:
    plain = source.episodes("train", TASKS)
    changed = Transformed(source=source, shuffle_order=True).episodes("train", TASKS)

    def rows(episode: Episode, part: int, index: int) -> list[tuple[float, ...]]:
        x, y, mask = episode[part]
        flat = torch.cat([t[index].reshape(len(y[index]), -1) for t in (*leaves(x), y.float(), mask.float())], dim=1)
        return [tuple(row) for row in flat.tolist()]

    firsts = []
    for index in range(len(TASKS)):
        for part in (0, 1):
            before, after = rows(plain, part, index), rows(changed, part, index)
            assert sorted(before) == sorted(after)
        firsts.append(before.index(after[0]))
    assert len(set(firsts)) > 2, "every place comes first at times"


def test_without_augmentation_the_order_alone_stays() -> None:
    source = Transformed(source=points().sampled(VARYING), shuffle_labels=True, shuffle_order=True)
    ordered = Transformed(source=points().sampled(VARYING), shuffle_order=True)
    one, other = source.plain().episodes("train", TASKS), ordered.episodes("train", TASKS)
    assert torch.equal(one.query.y, other.query.y)
    assert not torch.equal(one.query.y, source.episodes("train", TASKS).query.y)
    assert source.classes("train") == points().classes("train")
    assert source.class_names("val", 2) != source.plain().class_names("val", 2) or source.class_names("val", 3)
    assert transformed(source) is source


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        (sinusoid(), {"shuffle_labels": True}, "needs classes, but the targets of these tasks are a number"),
        (Guessable(), {"target_offset": 1.0}, "needs targets that are numbers, but those of these tasks are 2 classes"),
        (sinusoid(), {"target_offset": -1.0}, "target_offset must be 0 or a positive number, found -1.0"),
        (sinusoid(), {"target_offset": float("nan")}, "found nan"),
        (sinusoid(), {"target_offset": float("inf")}, "found inf"),
    ],
)
def test_what_does_not_fit_the_tasks(source: Source, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        transformed(source, **options)


def config(**changes: Any) -> RunConfig:
    made = RunConfig(
        name="small",
        tasks=sources.part("glyphs", alphabets=6, characters=6, size=16, within=True),
        model=models.part("conv4", width=8),
        learner=learners.part("protonet"),
        ways=3,
        queries=2,
        device="cpu",
    )
    return replace(made, **changes)


def test_a_run_changes_training_tasks_alone() -> None:
    parts, plain = build(config(shuffle_labels=True)), build(config())
    assert isinstance(parts.training, Transformed)
    assert type(parts.source) is type(plain.source)
    ids, before = (p.training.episodes("train", TASKS).query.y for p in (parts, plain))
    assert not torch.equal(ids, before)
    assert torch.equal(parts.source.episodes("val", TASKS).query.y, plain.source.episodes("val", TASKS).query.y)
    curves = replace(registry.recipes["sinusoid-maml"](), target_offset=2.0, device="cpu")
    parts, plain = build(curves), build(replace(curves, target_offset=0.0))
    assert not torch.equal(*(p.training.episodes("train", TASKS).query.y for p in (parts, plain)))
    assert torch.equal(*(p.source.episodes("val", TASKS).query.y for p in (parts, plain)))


def test_a_learner_that_reads_in_order_gets_every_order() -> None:
    assert not isinstance(build(config()).training, Transformed)
    parts = build(config(learner=learners.part("lstm")))
    for source in (parts.source, parts.training):
        assert isinstance(source, Transformed)
        assert source.shuffle_order and not source.shuffle_labels


def test_a_learner_of_all_classes_at_once_refuses_shuffled_labels() -> None:
    with pytest.raises(ConfigError, match="'simpleshot' trains on all classes at once"):
        build(config(learner=learners.part("simpleshot"), shuffle_labels=True))


def test_settings_survive_a_file_and_the_command_line() -> None:
    changed = config(shuffle_labels=True)
    again = RunConfig.from_json(json.loads(json.dumps(changed.to_json())))
    assert again.shuffle_labels and again.to_json() == changed.to_json()
    old = {n: v for n, v in config().to_json().items() if n not in ("shuffle_labels", "target_offset")}
    assert RunConfig.from_json(old).to_json() == config().to_json()
    settings = Settings.of(config())
    parsed = settings.apply(parse(settings.kind, "train", ["--shuffle-labels", "--target-offset", "0.5"]))
    assert (parsed.shuffle_labels, parsed.target_offset) == (True, 0.5)
    other = replace(parsed, shuffle_labels=True).with_tasks(sources.part("sinusoid"))
    assert (other.shuffle_labels, other.target_offset) == (False, 0.0)
    with pytest.raises(ConfigError, match="is 'yes', expected true or false"):
        RunConfig.from_json(config().to_json() | {"shuffle_labels": "yes"})
    with pytest.raises(QuickstudyError, match="target_offset"):
        build(config(target_offset=0.5))


def test_training_on_parts_takes_shuffled_labels(tmp_path: Path) -> None:
    settings = config(
        model=models.part("mlp", width=8, depth=1), learner=learners.part("maml", lr=0.1), meta_batch=2,
        validation_episodes=2, calibration_episodes=1,
    )  # fmt: skip
    after = []
    for shuffle_labels in (False, True):
        changed = replace(settings, shuffle_labels=shuffle_labels)
        out = tmp_path / str(shuffle_labels)
        after.append(train_on_parts(changed, out, rounds=1, steps=1, divide="classes", parts=2, backend="loop").params)
    assert any(not torch.allclose(value, after[1][name]) for name, value in after[0].items()), "they had an effect"
