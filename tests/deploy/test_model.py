"""One adapted model: many threads may ask it, its file is one whole, and it answers in the user's own terms."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

import quickstudy as qs
from quickstudy.deploy.adapt import Given, adapt
from quickstudy.deploy.model import Model
from quickstudy.errors import CheckpointError, ConfigError, DataError, ShapeError
from quickstudy.registry import formats, learners, models, sources, targets
from quickstudy.spec import TaskSpec
from quickstudy.training.learner import build_learner

CLASSES, NUMBERS = targets.make("classes", ways=3), targets.make("numbers", units="°C")


def learned(
    learner: str, spec: TaskSpec, records: object, labels: object = None, model: str = "mlp", **options: object
) -> Model:
    """A model adapted by an untrained network, as a run would do it."""
    config = qs.RunConfig(name="m", model=models.part(model), learner=learners.part(learner, **options))
    built = build_learner(config, spec)
    return adapt(config, built, built.init(torch.Generator().manual_seed(0)), Given(records=records, labels=labels))


def sine_models() -> list[tuple[Model, Tensor]]:
    """Two models of one network, each with what it answers when nobody else asks."""
    config = qs.RunConfig(name="m", model=models.part("mlp"), learner=learners.part("maml", lr=0.05, steps=3))
    built = build_learner(config, TaskSpec(formats.make("array", shape=(1,)), NUMBERS))
    params = built.init(torch.Generator().manual_seed(0))
    x = torch.linspace(-4, 4, 10)[:, None]
    adapted = [
        adapt(config, built, params, Given(records=x, labels=y)) for y in (3 * torch.sin(x), -3 * torch.sin(x + 1))
    ]
    return [(model, model(x)) for model in adapted]


@pytest.mark.parametrize("shared", [False, True])
def test_threads_get_the_answers_of_one_thread(shared: bool) -> None:
    pairs, x = sine_models(), torch.linspace(-4, 4, 10)[:, None]
    wrong = [0, 0]

    def ask(me: int) -> None:
        model, right = pairs[0 if shared else me]
        for _ in range(1000):
            wrong[me] += not torch.allclose(model(x), right, atol=1e-5)  # a new thread may multiply on more cores

    threads = [threading.Thread(target=ask, args=(me,)) for me in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [0, 0] and not torch.allclose(pairs[0][1], pairs[1][1], atol=0.1)


def test_a_frozen_model_is_what_predicts_and_is_its_own() -> None:
    (model, right), _ = sine_models()
    x, module = torch.linspace(-4, 4, 10)[:, None], model.frozen()
    with torch.no_grad():
        assert torch.equal(module(x), right)
        for value in model.params.values():
            value.zero_()  # somebody trains on
    assert torch.equal(model(x), right)


def test_names_and_tensors_are_one_whole(tmp_path: Path) -> None:
    x = torch.randn(6, 4)
    model = learned("protonet", TaskSpec(formats.make("array", shape=(4,)), CLASSES), x, list("aabbcc"))
    model.save(tmp_path / "m")
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["model.safetensors"]
    loaded = qs.load(tmp_path / "m", device="cpu")
    assert loaded.names == ("a", "b", "c") and torch.equal(loaded(x), model(x)) and loaded.spec == model.spec

    path = tmp_path / "m" / "model.safetensors"
    with safe_open(path, framework="pt") as file:
        header, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    facts = json.loads(header["meta"])
    facts["names"] = ["c", "b", "a"]
    save_file(tensors, path, metadata=header | {"meta": json.dumps(facts)})
    with pytest.raises(CheckpointError, match="checksum"):
        qs.load(tmp_path / "m")


def test_an_image_may_be_a_file_pixels_or_numbers(tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    files = [tmp_path / f"{i}.png" for i in range(4)]
    for path, one in zip(files, pixels, strict=True):
        Image.fromarray(one[0].numpy()).save(path)
    spec = TaskSpec(formats.make("image", size=8, channels=1), CLASSES)
    by = [learned("protonet", spec, records, list("aabb")) for records in (files, pixels, pixels.float() / 255)]
    answers = [model.predict(records).probabilities for model, records in zip(by, (pixels, files, files), strict=True)]
    assert all(torch.equal(one, answers[0]) for one in answers)
    with pytest.raises(ShapeError, match="other whole numbers"):
        by[0].predict(pixels.long())


def test_whole_numbers_of_eight_bits_are_numbers_where_nobody_says_they_are_pixels() -> None:
    x = torch.tensor([[0, 200], [10, 190], [200, 0], [190, 10]], dtype=torch.uint8)
    model = learned("protonet", TaskSpec(formats.make("array", shape=(2,)), CLASSES), x, list("aabb"))
    assert torch.equal(model(x.float()), learned("protonet", model.spec, x.float(), list("aabb"))(x.float()))
    assert torch.equal(model.predict(x).probabilities, model(x.float()).softmax(1))


def test_an_answer_iterates_indexes_and_becomes_a_table() -> None:
    x = torch.randn(6, 4)
    answer = learned("protonet", TaskSpec(formats.make("array", shape=(4,)), CLASSES), x, list("aabbcc")).predict(x)
    assert len(answer) == 6 and list(answer)[2] == answer[2] and answer[2][0] in "abc"
    table = answer.table()
    assert list(table) == ["class", "probability", "p(a)", "p(b)", "p(c)"] and len(table["class"]) == 6
    assert table["probability"][0] == max(table[f"p({name})"][0] for name in "abc")

    spec = TaskSpec(formats.make("array", shape=(4,)), NUMBERS)
    plain = learned("r2d2", spec, x, torch.arange(6.0)).predict(x)
    assert plain.columns == ("value (°C)",) and plain.spread is None and plain[1] == plain.table()["value (°C)"][1]
    sure = learned("cnp", spec, x, torch.arange(6.0)).predict(x)
    assert sure.columns == ("value (°C)", "spread (°C)") and sure[0] == (sure.values[0].item(), sure.spread[0].item())


def test_a_series_is_its_own_labels_and_is_forecast_in_its_own_units() -> None:
    spec = TaskSpec(formats.make("series", window=4), NUMBERS)
    seen = [1000.0, 1002.0, 1001.0, 1003.0, 1002.0]
    model = learned("maml", spec, seen, model="lstm", lr=0.01, steps=1)
    answer = model.predict(seen, steps=3)
    assert len(answer) == 3 and all(900 < value < 1100 for value in answer)
    first = model.predict(seen).values
    assert torch.equal(first, answer.values[:1])
    longer = [*seen, float(first[0])]
    assert float(model.predict(longer).values[0]) == pytest.approx(float(answer.values[1]), rel=1e-6)
    with pytest.raises(DataError, match="needs no labels"):
        learned("maml", spec, seen, seen, model="lstm")
    with pytest.raises(ConfigError, match="takes no 'steps'"):
        learned("r2d2", TaskSpec(formats.make("array", shape=(4,)), NUMBERS), torch.randn(3, 4), [1, 2, 3]).predict(
            torch.randn(1, 4), steps=2
        )


def test_only_a_network_that_says_so_takes_fewer_columns() -> None:
    x = torch.randn(8, 3)
    spec = TaskSpec(formats.make("table", columns=5), targets.make("classes", ways=4))
    model = learned("incontext", spec, x, list("aabbaabb"), model="columns", limit=4)
    assert model.spec.format.columns == 3 and model.predict(x[:2]).names and model.built == spec
    with pytest.raises(ShapeError, match="rows of 3 numbers, but the run was trained on rows of 5 numbers"):
        learned("protonet", spec, x, list("aabbaabb"))
    with pytest.raises(ShapeError, match="rows of 6 numbers"):
        learned("incontext", spec, torch.randn(8, 6), list("aabbaabb"), model="columns", limit=4)


def test_a_model_of_something_else_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(qs.QuickstudyError, match="no adapted model"):
        qs.load(tmp_path)
    x = torch.randn(6, 4)
    model = learned("protonet", TaskSpec(formats.make("array", shape=(4,)), CLASSES), x, list("aabbcc"))
    model.save(tmp_path / "m")
    with pytest.raises(qs.QuickstudyError, match="already holds"):
        model.save(tmp_path / "m")
    with pytest.raises(ShapeError, match=r"x has size 3 along axis 1, expected 4"):
        model(x[:, :3])
    with pytest.raises(DataError, match="NaN"):
        model(x * torch.nan)
    with pytest.raises(DataError, match="looks like a quantity"):
        learned("protonet", model.spec, x, [0.5, 1.5, 2.5] * 2)


def test_sources_are_named_through_their_registry() -> None:
    assert {"records", "table_csv", "folder", "series_csv"} <= set(sources)


def test_numbers_that_are_all_alike_are_said(caplog: pytest.LogCaptureFixture) -> None:
    spec = TaskSpec(formats.make("array", shape=(1,)), NUMBERS)
    x = torch.linspace(-1, 1, 5)[:, None]
    learned("r2d2", spec, x, 2 * x)
    assert "are alike" not in caplog.text
    learned("r2d2", spec, x, torch.full((5, 1), 5.0))
    assert "All labels of the support set are alike" in caplog.text
