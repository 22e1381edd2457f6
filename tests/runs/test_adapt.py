"""Learning one new task from a run: what it predicts, what it refuses, and that it survives a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import blobs, class_run, linear_run
from torch import Tensor

import quickstudy
from quickstudy.errors import CheckpointError, DataError, QuickstudyError, RunError, ShapeError
from quickstudy.recipes.small import sinusoid_maml
from quickstudy.registry import learners
from quickstudy.runs.run import Run
from quickstudy.runs.train import train

NAMES = ["wren", "owl", "tern"]
KINDS = ["protonet", "matchingnet", "r2d2", "maml", "anil", "cavia", "simpleshot", "finetune"]


def new_task() -> tuple[Tensor, list[str], Tensor]:
    """Support inputs of three far-off classes, their names, and queries: one near each class, in the order of NAMES."""
    generator = torch.Generator().manual_seed(5)
    centres = 2 * torch.randn(3, 8, generator=generator)
    x = centres.repeat(4, 1) + 0.1 * torch.randn(12, 8, generator=generator)
    return x, NAMES * 4, centres


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("runs")
    made = {}
    for kind in KINDS:
        config = class_run(kind, iterations=40, validate_every=40, checkpoint_every=40)
        if kind in ("maml", "anil", "cavia"):
            config = replace(config, learner=learners.part(kind, lr=1.0 if kind == "cavia" else 0.1, steps=5))
        made[kind] = train(config, out=folder / kind, source=blobs(), quiet=True)
    return made


@pytest.fixture
def protonet(runs: dict[str, Run]) -> Run:
    return runs["protonet"]


@pytest.mark.parametrize("kind", KINDS)
def test_new_classes_by_name(kind: str, runs: dict[str, Run]) -> None:
    x, labels, queries = new_task()
    predictions = runs[kind].adapt(x, labels).predict(queries)
    assert predictions.classes == ("owl", "tern", "wren"), "in the order of their names"
    assert predictions.probabilities.shape == (3, 3) and len(predictions) == 3
    assert predictions.probabilities.sum(dim=1).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    if kind not in ("anil", "cavia"):  # so short a training does not make them quick learners
        assert predictions.names == NAMES
    for (name, probability), row in zip(predictions, predictions.probabilities, strict=True):
        assert name in NAMES and probability == pytest.approx(float(row.max()))


@pytest.mark.parametrize("kind", KINDS)
def test_saved_model_gives_the_same_probabilities(kind: str, runs: dict[str, Run], tmp_path: Path) -> None:
    x, labels, _ = new_task()
    model = runs[kind].adapt(x, labels)
    loaded = quickstudy.load(model.save(tmp_path / "model"), device="cpu")
    assert torch.equal(loaded.predict(x).probabilities, model.predict(x).probabilities)
    assert loaded.predict(x).names == model.predict(x).names
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"model.safetensors"}


def test_own_network_is_given_again_when_loading(tmp_path: Path) -> None:
    module = torch.nn.Linear(8, 4)
    run = train(class_run("protonet"), out=tmp_path / "run", module=module, source=blobs(), quiet=True)
    x, labels, queries = new_task()
    model = run.adapt(x, labels)
    loaded = quickstudy.load(model.save(tmp_path / "model"), module=torch.nn.Linear(8, 4), device="cpu")
    assert torch.equal(loaded.predict(queries).probabilities, model.predict(queries).probabilities)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([7, 3, 11] * 4, ("3", "7", "11")),
        ([True, False] * 6, ("False", "True")),
        (["two", 2, (1, 2)] * 4, ("2", "(1, 2)", "two")),
        (np.array(["c", "b", "a"] * 4), ("a", "b", "c")),
        (np.arange(12) % 4, ("0", "1", "2", "3")),
        (torch.arange(12) % 2, ("0", "1")),
        (("ü", "日本", "") * 4, ("", "ü", "日本")),
    ],
    ids=str,
)
def test_labels_of_any_type(labels: Any, names: tuple[str, ...], protonet: Run) -> None:
    x, _, _ = new_task()
    model = protonet.adapt(x, labels)
    assert model.names == names
    assert set(model.predict(x).names) <= set(names)


def test_order_and_number_of_examples_are_free(protonet: Run) -> None:
    x, labels, queries = new_task()
    whole = protonet.adapt(x, labels).predict(queries).probabilities
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    shuffled = protonet.adapt(x[order], [labels[i] for i in order.tolist()]).predict(queries).probabilities
    torch.testing.assert_close(shuffled, whole)
    assert protonet.adapt(x[:7], labels[:7]).predict(queries).names == NAMES


@pytest.mark.parametrize("kind", KINDS)
def test_other_precisions_of_the_input(kind: str, runs: dict[str, Run]) -> None:
    x, labels, queries = new_task()
    expected = runs[kind].adapt(x, labels).predict(queries).probabilities
    given = runs[kind].adapt(x.double().numpy(), labels).predict(queries.double()).probabilities  # type: ignore[arg-type]
    torch.testing.assert_close(given, expected)


def test_regression_gives_values(tmp_path: Path) -> None:
    recipe = sinusoid_maml()
    config = linear_run(tasks=recipe.tasks, learner=learners.part("maml", lr=0.01, steps=1), iterations=2)
    run = train(config, out=tmp_path / "run", quiet=True)
    x = torch.linspace(-3, 3, 10)[:, None]
    model = run.adapt(x, torch.sin(x))
    values = model(x)
    assert values.shape == (10, 1)
    assert float((values - torch.sin(x)).square().mean()) < float(
        (run.adapt(x, 0 * x)(x) - torch.sin(x)).square().mean()
    )
    loaded = quickstudy.load(model.save(tmp_path / "model"), device="cpu")
    assert torch.equal(loaded(x), values)
    with pytest.raises(DataError, match="Example 0: labels must be numbers.*found 'wren'"):
        run.adapt(x, ["wren"] * 10)
    assert torch.equal(model.predict(x).values, values)  # type: ignore[attr-defined]
    assert list(model.predict(x)) == values[:, 0].tolist()


X, LABELS, _ = new_task()


@pytest.mark.parametrize(
    ("x", "labels", "error", "said"),
    [
        (X, LABELS[:-1], DataError, "12 support examples but 11 labels"),
        (X, ["wren"] * 12, DataError, "one class (wren)"),
        (X, [*LABELS[:5], None, *LABELS[6:]], DataError, "no label for example 5 (found None)"),
        (X, [*LABELS[:5], float("nan"), *LABELS[6:]], DataError, "no label for example 5 (found nan)"),
        (X[:0], [], DataError, "no support example"),
        (X.where(X < 1, torch.nan), LABELS, DataError, "NaN or infinite"),
        (X[:, :5], LABELS, ShapeError, "of the shape (5,), but the run was trained on arrays of the shape (8,)"),
        (X.reshape(12, 2, 4), LABELS, ShapeError, "of the shape (2, 4), but the run"),
        ({"x": X}, LABELS, ShapeError, "x must hold numbers"),
    ],
)
def test_support_that_does_not_fit(x: Any, labels: Any, error: type[QuickstudyError], said: str, protonet: Run) -> None:
    with pytest.raises(error) as caught:
        protonet.adapt(x, labels)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("x", "error", "said"),
    [
        (X[:, :5], ShapeError, "size 5 along axis 1, expected 8"),
        (X[0], ShapeError, "an axis of features after that of examples"),
        (X.where(X < 1, torch.inf), DataError, "NaN or infinite"),
    ],
)
def test_queries_that_do_not_fit(x: Tensor, error: type[QuickstudyError], said: str, protonet: Run) -> None:
    model = protonet.adapt(X, LABELS)
    with pytest.raises(error) as caught:
        model.predict(x)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        ({"x": X}, "x must be one tensor, found a dict of 'x'"),
        (X.long(), "floating point, found torch.int64"),
        ((X * 10).byte(), "floating point, found torch.uint8"),
    ],
)
def test_features_that_no_network_takes(x: Any, said: str, protonet: Run) -> None:
    with pytest.raises(ShapeError) as caught:
        protonet.adapt(X, LABELS)(x)
    assert said in str(caught.value)


def test_whole_numbers_are_numbers_as_records(protonet: Run) -> None:
    whole, real = (10 * X).long(), (10 * X).long().float()
    given, expected = protonet.adapt(whole, LABELS).predict(whole), protonet.adapt(real, LABELS).predict(real)
    assert torch.equal(given.probabilities, expected.probabilities)


def test_no_queries_no_predictions(protonet: Run) -> None:
    assert protonet.adapt(X, LABELS).predict(X[:0]).names == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_of_a_fixed_size_learns_fewer_classes_and_then_the_others(
    kind: str, runs: dict[str, Run], tmp_path: Path
) -> None:
    x, labels, queries = new_task()
    rows = [i for i, label in enumerate(labels) if label != "tern"]
    rest = [i for i, label in enumerate(labels) if label == "tern"]
    two = runs[kind].adapt(x[rows], [labels[i] for i in rows])
    asked = queries[[i for i, name in enumerate(NAMES) if name != "tern"]]
    if kind not in ("anil", "cavia"):
        assert two.predict(asked).names == [name for name in NAMES if name != "tern"]
    loaded = quickstudy.load(two.save(tmp_path / "model"), device="cpu")
    assert torch.equal(loaded.predict(x).probabilities, two.predict(x).probabilities)
    grown, whole = loaded.more(x[rest], ["tern"] * len(rest)), runs[kind].adapt(x, labels)
    assert grown.names == whole.names
    assert torch.allclose(grown.predict(queries).probabilities, whole.predict(queries).probabilities, atol=1e-5)


def test_damaged_or_missing_models(protonet: Run, tmp_path: Path) -> None:
    model = protonet.adapt(X, LABELS)
    folder = model.save(tmp_path / "model")
    for occupied in (folder, protonet.folder):
        with pytest.raises(RunError, match="already holds a"):
            model.save(occupied)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-10])
    with pytest.raises(CheckpointError, match="truncated"):
        quickstudy.load(folder)
    (folder / "model.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="checksum"):
        quickstudy.load(folder)
    (folder / "model.safetensors").write_bytes(whole)
    with pytest.raises(RunError, match="There is no"):
        quickstudy.load(tmp_path / "nowhere")
