"""Exported graphs say what the model says, and learn as it learns; what cannot be exported is refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported_models import learned
from torch import Tensor

import quickstudy as qs
from quickstudy import rng
from quickstudy.deploy.export.check import differing
from quickstudy.deploy.export.read import Model as Reader
from quickstudy.deploy.model import Model
from quickstudy.errors import ConfigError, RunError
from quickstudy.registry import formats, targets
from quickstudy.spec import TaskSpec

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

CLASSES, NUMBERS = targets.make("classes", ways=3), targets.make("numbers")
TABLE = formats.make("table", columns=4)


def rows(count: int, seed: int = 0) -> Tensor:
    return rng.normal(rng.key(seed), (count, 4))


def labels(count: int) -> list[str]:
    return ["abc"[i % 3] for i in range(count)]


def asked(folder: Path, graph: str, **given: Tensor) -> dict[str, Tensor]:
    session = ort.InferenceSession(str(folder / f"{graph}.onnx"))
    said = session.run(None, {name: value.numpy() for name, value in given.items()})
    return {one.name: torch.as_tensor(value) for one, value in zip(session.get_outputs(), said, strict=True)}


@pytest.mark.parametrize("learner", ["protonet", "r2d2", "matchingnet", "maml", "relationnet", "finetune", "incontext"])
def test_six_kinds_of_learners_answer_as_here(tmp_path: Path, learner: str) -> None:
    network = "columns" if learner == "incontext" else "mlp"
    model = learned(learner, TaskSpec(TABLE, CLASSES), rows(12), labels(12), model=network)
    folder = model.export(tmp_path / "out")
    for count in (1, 1000):
        x = rows(count, 7)
        said, p = asked(folder, "model", x=x), model.predict(x).probabilities
        assert torch.allclose(said["probabilities"], p, atol=1e-4)
        top = p.topk(2, dim=1).values
        sure = top[:, 0] - top[:, 1] > 1e-4
        assert torch.equal(said["probabilities"].argmax(1)[sure], p.argmax(1)[sure])


def test_a_program_of_pytorch_answers_as_here(tmp_path: Path) -> None:
    model = learned("r2d2", TaskSpec(TABLE, CLASSES), rows(12), labels(12), model="mlp")
    folder = model.export(tmp_path / "out", to="torch", adapt=True)
    x = rows(5, 3)
    answering, learning = (torch.export.load(str(folder / f"{name}.pt2")).module() for name in ("model", "adapt"))
    assert torch.allclose(answering(x)["logits"], model(x), atol=1e-5)
    y = torch.arange(12) % 3
    assert torch.allclose(learning(rows(12), y, torch.arange(3), x)["logits"], model(x), atol=1e-4)
    many = rows(3000, 4)  # as many as one likes
    assert torch.allclose(answering(many)["logits"], model(many), atol=1e-5)


@pytest.mark.parametrize("learner", ["r2d2", "lrd2"])
def test_heads_in_closed_form_are_solved_in_the_graph(tmp_path: Path, learner: str) -> None:
    """As in float64, for fewer and for more examples than features."""
    model = learned(learner, TaskSpec(TABLE, CLASSES), rows(12), labels(12), model="mlp")
    folder = model.export(tmp_path / "out", adapt=True)
    for count, ways in ((5, 2), (90, 4)):
        support, x, y = rows(count, 1), rows(30, 2), torch.arange(count) % ways
        found = model.learner.at(model.spec.at(ways))
        params = {name: value.double() for name, value in model.params.items()}
        state = found.adapt(params, qs.Examples(support.double(), y, torch.ones(count, dtype=torch.bool)))
        exact = found.predict(params, state, x.double())
        said = asked(folder, "adapt", support_x=support, labels=y, x=x)
        assert said["logits"].shape == (30, ways)
        assert float((said["logits"] - exact).abs().max() / exact.abs().max()) < 1e-4
        parts = (asked(folder, "embed", x=part)["embedding"] for part in (support, x))
        again = asked(folder, "head", support_embedding=next(parts), labels=y, embedding=next(parts))
        assert torch.allclose(again["logits"], said["logits"], atol=1e-5)


def test_numbers_are_in_the_users_units_and_are_learned_anew(tmp_path: Path) -> None:
    y = [100 + 3.0 * i for i in range(12)]
    model = learned("r2d2", TaskSpec(TABLE, NUMBERS), rows(12), y, model="mlp")
    folder = model.export(tmp_path / "out", adapt=True)
    x = rows(6, 4)
    expected = model.predict(x).values
    assert torch.allclose(asked(folder, "model", x=x)["mean"], expected, rtol=1e-4)
    said = asked(folder, "adapt", support_x=rows(12), labels=torch.tensor(y)[:, None], x=x)
    assert torch.allclose(said["mean"], expected, rtol=1e-3)
    assert json.loads((folder / "model.json").read_text())["says"] == "numbers"


def test_a_task_learned_in_the_graph_is_believed_as_here(tmp_path: Path) -> None:
    run = qs.pretrained("handwriting")
    folder = run.export(tmp_path / "out", adapt=True)
    facts = json.loads((folder / "model.json").read_text())
    generator = np.random.default_rng(0)
    bases = generator.uniform(15, 90, (6, 5, 2))

    def drawn(count: int, classes: int) -> Any:
        from PIL import Image, ImageDraw

        pictures = []
        for i in range(count):
            pictures.append(Image.new("L", (105, 105), 255))
            points = bases[i % classes] + generator.normal(0, 4, (5, 2))
            ImageDraw.Draw(pictures[-1]).line([tuple(p) for p in points], fill=0, width=3)
        return pictures

    def stored(pictures: Any) -> Any:
        return run.spec.format.store(pictures).x

    for count, ways in ((25, 5), (3, 3)):
        support, x, y = stored(drawn(count, ways)), stored(drawn(12, 6)), torch.arange(count) % ways
        said = asked(folder, "adapt", support_x=support, labels=y, x=x)
        model = run.adapt(support, [f"c{i}" for i in y.tolist()])
        answer, estimate = model.predict(x), model.estimate
        assert torch.allclose(said["probabilities"], answer.probabilities, atol=1e-4)
        assert torch.allclose(said["known"].double(), answer.known.double(), atol=1e-4)  # type: ignore[union-attr]
        assert said["estimate"].tolist() == pytest.approx([estimate.mean, estimate.low, estimate.high], abs=1e-4)
        accepted = said["known"] > said["known_least"][facts["trust"]["rates"].index(0.05)]
        refused = model.predict(x, false_alarms=0.05).refused
        assert refused is not None and torch.equal(accepted, ~refused)
    for counts in ((4, 1), (1, 1), (1, 6, 2)):
        names = [name for name, many in zip("zyx", counts, strict=False) for _ in range(many)]
        support, asked_about = [drawn(1 + "zyx".index(name), 6)[-1] for name in names], drawn(12, 6)
        answer = run.adapt(support, names).predict(asked_about, false_alarms=0.05)
        for i, one in enumerate(Reader.learn(support, names, folder).predict(asked_about)):
            assert one["probabilities"] == pytest.approx(
                dict(zip(answer.classes, answer.probabilities[i].tolist(), strict=True)), abs=1e-4
            )
            assert one["known"] == pytest.approx(float(answer.known[i]), abs=1e-4)  # type: ignore[index]
            assert one["refused"] == bool(answer.refused[i])
    with pytest.raises(ValueError, match="takes two classes"):
        Reader.learn(support[:1], names[:1], folder)


def test_a_model_and_its_frozen_module_are_traced() -> None:
    model = learned("protonet", TaskSpec(TABLE, CLASSES), rows(12), labels(12), model="mlp")
    x = rows(2)

    class Asking(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return model(x)

    for program in (torch.export.export(model.frozen(), (x,)), torch.export.export(Asking(), (x,))):
        assert torch.allclose(program.module()(x), model(x))
    assert torch.allclose(torch.jit.trace(model.frozen(), x)(x), model(x))  # type: ignore[no-untyped-call]


def test_what_cannot_be_exported_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    model: Model = learned("maml", TaskSpec(TABLE, CLASSES), rows(12), labels(12), model="mlp")
    with pytest.raises(ConfigError, match="maml.*more than embeddings"):
        model.export(tmp_path / "a", adapt=True)
    with pytest.raises(ConfigError, match="no form of export called 'tflite'"):
        model.export(tmp_path / "a", to="tflite")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="has not learned a task"):
        qs.pretrained("handwriting").export(tmp_path / "a")
    with pytest.raises(ConfigError, match="columns of this table"):
        qs.pretrained("tables-classes").export(tmp_path / "a", adapt=True)
    assert not list(tmp_path.iterdir())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        model.export(tmp_path / "full")


def test_another_answer_is_found() -> None:
    truth = {"probabilities": torch.tensor([[0.6, 0.4], [0.5, 0.5]])}
    assert not differing({"probabilities": truth["probabilities"] + 1e-6}, truth)
    assert "probabilities by" in differing({"probabilities": torch.tensor([[0.4, 0.6], [0.5, 0.5]])}, truth)
    assert "probabilities by" in differing({"probabilities": torch.full((2, 2), torch.nan)}, truth)
    assert "shape" in differing({}, truth)
