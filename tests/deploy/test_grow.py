"""A model that grows is the model that all examples at once would have given; what is forgotten never was there."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy.deploy.adapt import Given, adapt
from quickstudy.deploy.model import Model
from quickstudy.errors import ConfigError, DataError, ShapeError
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


@cache
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


@pytest.mark.parametrize("name", ["protonet", "relationnet", "matchingnet", "lrd2", "maml", "finetune"])
def test_a_class_that_is_forgotten_never_was_there(name: str) -> None:
    x, labels = clusters()
    fewer = at_once(name, *of(("ant", "cow", "dog"), x, labels))
    for keep in (True, False):
        model = at_once(name, x, labels, keep=keep)
        if model.kept is None and model.tally is None:
            continue
        less = model.without(["bee"])
        assert less.names == ("ant", "cow", "dog") and less.count == 9 and same(less, fewer, x)
        again = less.more(*of(("bee",), x, labels))
        assert same(again, model, x)


@pytest.mark.parametrize("name", ["protonet", "r2d2", "matchingnet", "maml"])
def test_examples_that_are_forgotten_never_were_there(name: str) -> None:
    x, labels = clusters()
    rows = [0, 5, 7]
    left = [i for i in range(len(labels)) if i not in rows]
    fewer = at_once(name, x[left], [labels[i] for i in left])
    whole = at_once(name, x, labels)
    for less in (whole.without(examples=rows), whole.without(examples=x[rows]), whole.without(examples=[-12, 5, 7])):
        assert less.count == 9 and same(less, fewer, x)
    sealed = whole.sealed()
    if sealed.tally is None:
        with pytest.raises(ConfigError, match="neither kept"):
            sealed.without(examples=x[rows], labels=[labels[i] for i in rows])
    elif sealed.tally.rows:
        assert same(sealed.without(examples=rows), fewer, x)
        with pytest.raises(ConfigError, match="by their index"):
            sealed.without(examples=x[rows], labels=[labels[i] for i in rows])
    else:
        assert same(sealed.without(examples=x[rows], labels=[labels[i] for i in rows]), fewer, x)
        with pytest.raises(ConfigError, match="as records with their labels"):
            sealed.without(examples=rows)


def test_a_class_goes_with_its_last_example_and_two_stay() -> None:
    x, labels = clusters(NAMES[:3], shots=1)
    for keep in (True, False):
        model = at_once("protonet", x, labels, keep=keep)
        less = model.without(examples=x[:1], labels=labels[:1])
        assert less.names == ("bee", "cow") and less.spec.ways == 2 and less.count == 2
        with pytest.raises(DataError, match="Of 2 classes only 'bee' would be left"):
            less.without("cow")
        with pytest.raises(DataError, match="Of 2 classes none would be left"):
            less.without(["bee", "cow"])
        with pytest.raises(ConfigError, match="no class of this model called 'bea'. Did you mean 'bee'"):
            less.without("bea")
        with pytest.raises(ConfigError, match="nothing to forget"):
            less.without()


def test_what_was_never_there_is_not_forgotten() -> None:
    x, labels = clusters()
    model = at_once("protonet", x, labels)
    with pytest.raises(DataError, match="Example 0 of those that are to be forgotten is none of the 12"):
        model.without(examples=x[:1] + 1)
    with pytest.raises(DataError, match="no example 12"):
        model.without(examples=[12])
    sealed = model.sealed()
    with pytest.raises(DataError, match="More examples of 'ant' are to be forgotten than there were"):
        sealed.without(examples=x[[0, 0, 1, 2]], labels=["ant"] * 4)
    with pytest.raises(DataError, match="knows no class 'owl'"):
        sealed.without(examples=x[:1], labels=["owl"])
    ridge = at_once("r2d2", x, labels, keep=False)
    with pytest.raises(ConfigError, match="do not tell classes apart, so that ant cannot be forgotten by name"):
        ridge.without("ant")
    ants = of(("ant",), x, labels)
    assert same(ridge.without(examples=ants[0], labels=ants[1]), at_once("r2d2", x[3:], labels[3:]), x)


@pytest.mark.parametrize("name", ["protonet", "maml"])
def test_a_change_for_the_worse_is_said_before_it_is_kept(name: str, caplog: pytest.LogCaptureFixture) -> None:
    x, labels = clusters(shots=4)
    model = at_once(name, x, labels)
    wrong = x[:4].repeat(6, 1) + 0.01  # ants that are called dogs
    with caplog.at_level(logging.WARNING, "quickstudy"):
        grown = model.more(wrong, ["dog"] * 24)
    known = grown.provenance["history"][-1]["known"]
    assert known["after"] < known["before"] and known["count"] == 16 and known["held_out"] == (name == "protonet")
    assert "worse on what it knew. Look" in caplog.text and grown.provenance["history"][-1]["support"] == [16, 40]
    with pytest.raises(DataError, match=r"On the 16 examples.*Nothing was changed"):
        model.more(wrong, ["dog"] * 24, if_worse="refuse")
    better = grown.without(examples=list(range(16, 40)), if_worse="refuse")
    assert same(better, model, x)
    assert [one["change"] for one in better.provenance["history"]] == ["more", "without"]


@pytest.mark.parametrize("name", ["protonet", "matchingnet", "r2d2", "relationnet", "cnp"])
def test_what_is_said_of_the_known_is_held_out(name: str) -> None:
    """Against learning from all but one, written out."""
    x, labels = clusters(NAMES[:3], shots=4, seed=2)
    new = of(("cow",), x, labels)
    old = of(("ant", "bee"), x, labels)
    grown = at_once(name, *old).more(*new)
    right = 0
    for i in range(8):
        others = [k for k in range(12) if k != i]
        one = at_once(name, x[others], [labels[k] for k in others])
        right += one.predict(x[i : i + 1].float()).names[0] == labels[i]
    known = grown.provenance["history"][-1]["known"]
    assert known["after"] == pytest.approx(right / 8) and known["held_out"]


def test_a_class_of_one_example_is_not_held_out(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is left of it then, so that it would be wrong whatever the change."""
    x, labels = clusters(shots=2)
    model = at_once("protonet", x, labels)
    one = model.without(examples=[0], if_worse="refuse").provenance["history"][-1]["known"]
    assert (one["count"], one["held_out"]) == (6, True)
    each = model.without(examples=[0, 2, 4, 6], if_worse="refuse").provenance["history"][-1]["known"]
    assert (each["count"], each["held_out"], each["after"]) == (4, False, 1.0)
    assert "worse" not in caplog.text


def test_examples_are_named_by_numbers_of_any_kind() -> None:
    x, labels = clusters()
    model = at_once("protonet", x, labels)
    less = model.without(examples=[0, 11])
    mask = torch.zeros(12, dtype=torch.bool)
    mask[[0, 11]] = True
    for given in (np.array([0, 11]), torch.tensor([0, -1]), [np.int64(0), np.int64(11)], mask, mask.tolist(), {0, 11}):
        assert same(model.without(examples=given), less, x) and model.without(examples=given).count == 10
    with pytest.raises(DataError, match="marks 5 examples, and the model was adapted to 12"):
        model.without(examples=mask[:5])
    numbered = at_once("protonet", x, [NAMES.index(label) for label in labels])
    assert numbered.without(0).names == numbered.without([0]).names == ("1", "2", "3")
    assert numbered.without(np.arange(2)).names == ("2", "3")


def test_a_change_of_nothing_is_refused() -> None:
    x, labels = clusters()
    for model in (at_once("protonet", x, labels), at_once("protonet", x, labels, keep=False)):
        with pytest.raises(DataError, match="no further example"):
            model.more(x[:0], [])
        with pytest.raises(ConfigError, match="nothing to forget"):
            model.without(examples=[])
        with pytest.raises(ConfigError, match="called 'refused'"):
            model.more(x[:1], ["ant"], if_worse="refused")  # type: ignore[arg-type]


def test_numbers_as_names_keep_their_order() -> None:
    x, _ = clusters(shots=2)
    labels = [2, 2, 10, 10, 3, 3, 1, 1]
    grown = at_once("protonet", x[:4], labels[:4]).more(x[4:], labels[4:])
    assert grown.names == at_once("protonet", x, labels).names == ("1", "2", "3", "10")
    assert same(grown, at_once("protonet", x, labels), x)


def test_further_examples_of_another_format_are_refused() -> None:
    x, labels = clusters()
    for model in (at_once("protonet", x, labels), at_once("protonet", x, labels, keep=False)):
        with pytest.raises(ShapeError, match="5"):
            model.more(x[:, :5], labels)
        with pytest.raises(DataError, match="12 further examples but 3 labels"):
            model.more(x, labels[:3])
        with pytest.raises(DataError, match="need a label|needs a label"):
            model.more(x)
        with pytest.raises(DataError, match="NaN"):
            model.more(x * torch.nan, labels)
    frame = TaskSpec(formats.make("table", columns=2, names=("a", "b")), VECTORS.target)
    rows = [{"a": 1.0, "b": 2.0}, {"a": 5.0, "b": 1.0}]
    table = at_once("protonet", rows, ["x", "y"], frame)
    assert table.more([{"b": 2.5, "a": 1.5}], ["x"]).count == 3
    with pytest.raises(DataError, match="no column 'b'"):
        table.more([{"a": 1.5, "c": 2.5}], ["x"])


def test_pixels_and_features_of_images_are_brought_together() -> None:
    spec = TaskSpec(formats.make("image", size=4, channels=1), VECTORS.target)
    pixels = torch.randint(0, 256, (6, 1, 4, 4), dtype=torch.uint8)
    model = at_once("protonet", pixels[:4], list("aabb"), spec)
    assert model.kept is not None and isinstance(model.kept.x, Tensor) and model.kept.x.dtype == torch.uint8
    whole = at_once("protonet", pixels, list("aabbcc"), spec)
    for further in (pixels[4:], pixels[4:].float() / 255):
        grown = model.more(further, list("cc"))
        assert torch.allclose(grown(pixels.double() / 255), whole(pixels.double() / 255), atol=1e-6)
        assert same_images(grown.without(examples=pixels[4:5]).without(examples=pixels[5:]), model, pixels)


def same_images(one: Model, other: Model, pixels: Tensor) -> bool:
    return torch.allclose(one(pixels.double() / 255), other(pixels.double() / 255), atol=1e-6)


def test_a_series_goes_on_in_its_own_units() -> None:
    spec = TaskSpec(formats.make("series", window=4), VALUES.target)
    config = qs.RunConfig(name="m", model=models.part("lstm"), learner=learners.part("maml", lr=0.01, steps=1))
    learner = build_learner(config, spec)
    params = learner.init(torch.Generator().manual_seed(0))
    values = [100.0, 103.0, 101.0, 109.0, 104.0, 120.0]
    whole = adapt(config, learner, params, Given(records=values))
    grown = adapt(config, learner, params, Given(records=values[:4])).more(values[4:5]).more(values[5:])
    assert torch.equal(grown.predict(values, steps=3).values, whole.predict(values, steps=3).values)
    assert torch.equal(grown.fitted["spread"], whole.fitted["spread"]) and grown.count == whole.count == 5
    with pytest.raises(ConfigError, match="nothing can be forgotten"):
        whole.without(examples=[0])
    with pytest.raises(ConfigError, match="neither kept"):
        whole.sealed().more([3.0])


def test_masks_learn_and_forget_a_class() -> None:
    spec = TaskSpec(formats.make("image", size=8, channels=1), targets.make("masks", size=8, ways=2))
    config = qs.RunConfig(name="m", model=models.part("unet", width=4), learner=learners.part("protonet"))
    learner = build_learner(config, spec)
    params = learner.init(torch.Generator().manual_seed(0))
    pixels = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    masks = torch.zeros(4, 8, 8, dtype=torch.int64)
    masks[:2, :4], masks[2:, 4:, 2:] = 1, 2
    whole = adapt(config, learner, params, Given(records=pixels, labels=masks))
    first = adapt(config, learner, params, Given(records=pixels[:2], labels=masks[:2]))
    grown = first.more(pixels[2:], masks[2:])
    x = pixels.float() / 255
    assert grown.names == whole.names == ("background", "1", "2")
    assert torch.equal(grown(x), whole(x))
    summed = first.sealed().more(pixels[2:], masks[2:])
    assert torch.allclose(summed(x), whole(x), atol=1e-4)
    less = grown.without("2")
    plain = adapt(config, learner, params, Given(records=pixels, labels=torch.where(masks == 2, 0, masks)))
    assert less.names == ("background", "1") and torch.equal(less(x), plain(x))
    with pytest.raises(ConfigError, match="background"):
        grown.without("background")


def test_unlabelled_examples_are_kept_with_the_others() -> None:
    x, labels = clusters()
    told = [label if i % 3 else None for i, label in enumerate(labels)]
    whole = at_once("semi-protonet", x, told)
    model = at_once("semi-protonet", x[:6], told[:6])
    assert same(model.more(x[6:], told[6:]), whole, x)
    with pytest.raises(ConfigError, match="neither kept"):
        model.sealed().more(x[6:], told[6:])


def test_a_model_of_before_still_loads_and_says_why_it_cannot_go_on(tmp_path: Path) -> None:
    x, labels = clusters()
    model = replace(at_once("protonet", x, labels, single=True), kept=None, tally=None)
    model.save(tmp_path / "m")
    loaded = qs.load(tmp_path / "m", device="cpu")
    assert loaded.kept is None and loaded.tally is None
    with pytest.raises(ConfigError, match=r"neither kept the examples.*--no-keep"):
        loaded.more(x, labels)


def test_what_a_table_teaches_of_its_columns_follows(tmp_path: Path) -> None:
    """The schema of a task's own rows: means, spreads, categories, truth values, dates, and what did not vary."""
    rows = [
        {"size": 1.0 + i, "kind": "ab"[i % 2], "old": i % 3 == 0, "seen": f"2024-03-0{1 + i}", "place": "here"}
        for i in range(6)
    ]
    rows[2]["size"] = None
    further = [
        {"size": 40.5, "kind": "c", "old": True, "seen": "2023-01-01", "place": "there"},
        {"size": 3.0, "kind": None, "old": False, "seen": "2025-12-31", "place": "here"},
    ]
    labels, new = ["x", "y"] * 3, ["y", "z"]
    spec = TaskSpec(formats.make("table", mixed=True, columns=5), targets.make("classes", ways=4))
    config = qs.RunConfig(name="m", model=models.part("cells"), learner=learners.part("incontext", limit=4))
    learner = build_learner(config, spec)
    params = learner.init(torch.Generator().manual_seed(0))
    whole = adapt(config, learner, params, Given(records=rows + further, labels=labels + new))
    first = adapt(config, learner, params, Given(records=rows, labels=labels))
    first.save(tmp_path / "m")
    for model in (first, qs.load(tmp_path / "m", device="cpu")):
        grown = model.more(further, new)
        assert [replace(c, centre=0, spread=1) for c in grown.spec.format.schema] == [
            replace(c, centre=0, spread=1) for c in whole.spec.format.schema
        ]
        for one, other in zip(grown.spec.format.schema, whole.spec.format.schema, strict=True):
            assert one.centre == pytest.approx(other.centre) and one.spread == pytest.approx(other.spread)
        said, told = grown.predict(rows + further).probabilities, whole.predict(rows + further).probabilities
        assert grown.names == whole.names and torch.allclose(said, told, atol=1e-5)
        less = grown.without(examples=[6, 7])
        assert torch.allclose(less.predict(rows).probabilities, first.predict(rows).probabilities, atol=1e-5)
    with pytest.raises(DataError, match="The further rows have no column 'kind'"):
        first.more([{"size": 1.0, "old": True, "seen": "2024-01-01", "place": "here"}], ["x"])


def test_a_table_that_leaves_columns_out_grows_and_forgets_without_them(tmp_path: Path) -> None:
    """What further rows hold in a column that is left out, or whether they have it, makes no difference."""
    rows = [{"id": f"n{i}", "size": 1.0 + i, "kind": "ab"[i % 2]} for i in range(8)]
    labels = ["x", "y"] * 4
    spec = TaskSpec(formats.make("table", mixed=True, columns=2), targets.make("classes", ways=4))
    config = qs.RunConfig(name="m", model=models.part("cells"), learner=learners.part("incontext", limit=4))
    learner = build_learner(config, spec)
    params = learner.init(torch.Generator().manual_seed(0))
    told = learner.at(replace(spec, format=spec.format.told(exclude=("id",))))
    whole = adapt(config, told, params, Given(records=rows, labels=labels))
    first = adapt(config, told, params, Given(records=rows[:6], labels=labels[:6]))
    first.save(tmp_path / "m")
    for model in (first, qs.load(tmp_path / "m", device="cpu")):
        for further in (rows[6:], [{name: row[name] for name in ("size", "kind")} for row in rows[6:]]):
            grown = model.more(further, labels[6:])
            said, known = grown.predict(rows).probabilities, whole.predict(rows).probabilities
            assert torch.allclose(said, known, atol=1e-5)
        less = grown.without(examples=[6, 7])
        assert torch.allclose(less.predict(rows).probabilities, first.predict(rows).probabilities, atol=1e-5)


def test_a_folder_of_one_further_class_is_enough(tmp_path: Path) -> None:
    x, labels = clusters()
    for i, (row, label) in enumerate(zip(x, labels, strict=True)):
        place = tmp_path / ("more" if label == "dog" else "first") / label
        place.mkdir(parents=True, exist_ok=True)
        np.save(place / f"{i:02}.npy", row.numpy())
    first = VECTORS.find(tmp_path / "first")
    model = at_once("protonet", first.items, first.labels).more(tmp_path / "more")
    assert same(model, at_once("protonet", x, labels), x)
    scored = at_once("protonet", x, labels, single=True).score(tmp_path / "more")
    assert scored.count == 3 and scored.hits[3].true == 3


def test_a_text_as_long_as_no_path_is_no_place() -> None:
    x, labels = clusters()
    with pytest.raises((DataError, ShapeError)):
        at_once("protonet", x, labels).more("x" * 5000)
