"""Keras models on the PyTorch backend: their variables are φ, and they answer as Keras does."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import quickstudy as qs
from quickstudy.errors import ModelError
from quickstudy.learners import Network
from quickstudy.learners.given import as_given
from quickstudy.registry import formats, learners, models
from quickstudy.runs.run import Run
from quickstudy.runs.train import train
from quickstudy.training.config import RunConfig

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
from quickstudy.models.encoders.keras import KerasModule, is_keras  # noqa: E402


def dense(outputs: int = 3, dropout: float = 0.0) -> Any:
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(12, activation="tanh"), keras.layers.BatchNormalization()]
    layers += [keras.layers.Dropout(dropout)] if dropout else []
    return keras.Sequential([keras.Input((6,)), *layers, keras.layers.Dense(outputs)])


def source() -> Any:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 1, 6, generator=generator) + 0.5 * torch.randn(20, 12, 6, generator=generator)
    return qs.tasks.arrays(x.flatten(0, 1), [i // 12 for i in range(240)])


def config(name: str, **changes: Any) -> RunConfig:
    settings: dict[str, Any] = {"iterations": 8} | changes
    return RunConfig(
        name="x", learner=learners.part(name), ways=3, shots=2, queries=3, meta_batch=2, lr=0.01, compile="off",
        validation_episodes=4, calibration_episodes=2, batch=16, device="cpu", **settings,
    )  # fmt: skip


def test_it_is_the_model() -> None:
    model, x = dense(), torch.randn(5, 6)
    network = Network(as_given(KerasModule(model)))
    params = network.init(torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(params, x), model(x, training=False))
    names = {name for name in params if name.startswith("network.")}
    dense_ones = {f"network.{n}" for n in ("0_dense.kernel", "0_dense.bias", "2_dense.kernel", "2_dense.bias")}
    assert names == dense_ones | {f"network.1_batch_normalization.{n}" for n in ("gamma", "beta")}
    assert {n.removeprefix("network.") for n in names} == {n for n, _ in KerasModule(dense()).named_parameters()}
    doubled = {n: 2 * v if n in names else v for n, v in params.items()}
    module = KerasModule(model)
    with torch.no_grad():
        for name, value in module.named_parameters():
            value.copy_(doubled[f"network.{name}"])
    torch.testing.assert_close(network(doubled, x), module.to_keras()(x, training=False))
    assert copy.deepcopy(module)._shared.model is model


@pytest.mark.parametrize("name", ["protonet", "maml", "anil", "finetune", "r2d2"])
def test_learners_train_it(name: str, tmp_path: Path) -> None:
    model = dense(dropout=0.3)
    before = [v.numpy().copy() for v in model.variables]
    run, again = (
        train(config(name), module=model, source=source(), out=tmp_path / where, quiet=True) for where in "ab"
    )
    start = run.untrained()
    assert max(float((run.params[n] - start[n]).abs().max()) for n in start if n.startswith("network.")) > 1e-3
    assert all(torch.equal(value, again.params[n]) for n, value in run.params.items())
    assert not torch.equal(run.params["constant.1_batch_normalization.moving_mean"], torch.zeros(12))
    assert all((v.numpy() == old).all() for v, old in zip(model.variables, before, strict=True)), "changed"
    adapted = run.adapt(torch.randn(6, 6), list("aabbcc"))
    adapted.save(tmp_path / "model")
    x = torch.randn(4, 6)
    assert torch.equal(adapted(x), adapted(x)) and torch.equal(
        qs.load(tmp_path / "model", module=dense(dropout=0.3))(x), adapted(x)
    )
    back = run.module()
    assert isinstance(back, KerasModule)
    torch.testing.assert_close(back(x), back.to_keras()(x, training=False))


def test_a_file_is_needed_once(tmp_path: Path) -> None:
    dense(5).save(tmp_path / "m.keras")
    made = config("protonet", model=models.part("keras", file=str(tmp_path / "m.keras")), iterations=3)
    run = train(made, source=source(), out=tmp_path / "run", quiet=True)
    start = run.untrained()["network.0_dense.kernel"]
    assert torch.equal(start, torch.as_tensor(dense(5).variables[0].value).detach())
    (tmp_path / "m.keras").unlink()
    later = Run(tmp_path / "run", source=source())
    assert later.evaluate(episodes=4).episodes == 4
    later.adapt(torch.randn(6, 6), list("aabbcc")).save(tmp_path / "model")
    assert qs.load(tmp_path / "model").predict(torch.randn(2, 6)).names  # type: ignore[attr-defined]
    with pytest.raises(qs.QuickstudyError, match="There is no file"):
        train(made, source=source(), out=tmp_path / "other", quiet=True)


def test_images_are_turned_as_keras_has_them() -> None:
    convolution = keras.layers.Conv2D(4, 3, data_format="channels_last")
    model = keras.Sequential([keras.Input((8, 8, 3)), convolution, keras.layers.GlobalAveragePooling2D()])
    network = Network(as_given(KerasModule(model)))
    params, x = network.init(torch.Generator().manual_seed(0)), torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(network(params, x), model(x.permute(0, 2, 3, 1)))
    assert network.output_shape(formats.make("array", shape=(3, 8, 8))) == (4,)


def test_probabilities_at_the_end_are_said(caplog: pytest.LogCaptureFixture) -> None:
    def ending(*layers: Any) -> str:
        caplog.clear()
        KerasModule(keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, activation="relu"), *layers]))
        return caplog.text

    assert "ends in softmax" in ending(keras.layers.Dense(3, activation="softmax"))
    assert "ends in softmax" in ending(keras.layers.Dense(3), keras.layers.Softmax())
    assert "ends in sigmoid" in ending(keras.layers.Dense(1, activation="sigmoid"))
    assert not ending() and not ending(keras.layers.Dense(3))


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_whole_models_of_both_kinds_of_file_start_from_their_weights(ending: str, tmp_path: Path) -> None:
    dense(5).save(tmp_path / f"m.{ending}")
    network = models.make("keras", source().spec, head=False, file=str(tmp_path / f"m.{ending}"))
    x = torch.randn(3, 6)
    torch.testing.assert_close(network.eval()(x), dense(5)(x, training=False))


def test_models_without_variables_are_refused() -> None:
    with pytest.raises(ModelError, match=r"Begin it with keras.Input\(shape\)"):
        KerasModule(keras.Sequential([keras.layers.Dense(3)]))
    assert is_keras(dense()) and not is_keras(torch.nn.Linear(2, 2))


def test_a_model_of_another_backend_is_refused_by_the_way_out() -> None:
    program = (
        "import keras, torch, quickstudy as qs\n"
        "net = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])\n"
        "made = qs.RunConfig(name='x', learner=qs.registry.learners.part('protonet'), ways=3, iterations=1)\n"
        "try: qs.train(made, module=net, source=qs.tasks.arrays(torch.randn(240, 6), [i % 20 for i in range(240)]))\n"
        "except qs.QuickstudyError as error: print(error)\n"
    )
    backend = os.environ | {"KERAS_BACKEND": "jax"}
    pytest.importorskip("jax")
    told = subprocess.run([sys.executable, "-c", program], env=backend, capture_output=True, text=True, timeout=120)
    assert "on the backend 'jax'. Set the environment variable KERAS_BACKEND=torch" in told.stdout, told.stderr


def test_a_backend_that_is_not_installed_is_named(tmp_path: Path) -> None:
    file = tmp_path / "m.keras"
    dense().save(file)
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "import quickstudy as qs\nfrom quickstudy.models.encoders.keras import keras_file\n"
        "try: keras_file(qs.tasks.linear(dimensions=6).spec, file=sys.argv[1])\n"
        "except qs.QuickstudyError as error: print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(file)], env=os.environ | {"KERAS_BACKEND": "tensorflow"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert "its backend needs 'tensorflow'" in said.stdout and "KERAS_BACKEND=torch" in said.stdout, said.stderr
