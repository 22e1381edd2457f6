"""SqueezeNet: equal to its formula, started from a file of weights, stored without it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from photos import coloured, photo_run, photos
from safetensors.torch import load_file, save_file
from torch import Tensor

import quickstudy as qs
from quickstudy.errors import CheckpointError, ConfigError
from quickstudy.models import squeezenet
from quickstudy.registry import models
from quickstudy.runs.train import resume, train

REAL = Path(os.environ.get("QUICKSTUDY_DATA", "")).parent / "models" / "squeezenet1_0.safetensors"
Entries = dict[str, Tensor]


def shapes() -> dict[str, tuple[int, ...]]:
    """The published network, written down anew."""
    found: dict[str, tuple[int, ...]] = {"conv1": (96, 3, 7, 7), "conv10": (1000, 512, 1, 1)}
    channels = 96
    for index, squeezed in zip(range(2, 10), (16, 16, 32, 32, 48, 48, 64, 64), strict=True):
        found[f"fire{index}.s"] = (squeezed, channels, 1, 1)
        found[f"fire{index}.e1"] = (4 * squeezed, squeezed, 1, 1)
        found[f"fire{index}.e3"] = (4 * squeezed, squeezed, 3, 3)
        channels = 8 * squeezed
    return found


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the published layout, in half precision."""
    generator, entries = torch.Generator().manual_seed(0), {}
    for name, shape in shapes().items():
        spread = (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        entries[f"{name}.weight"] = (spread * torch.randn(shape, generator=generator)).half()
        entries[f"{name}.bias"] = (0.1 * torch.randn(shape[:1], generator=generator)).half()
    path = tmp_path_factory.mktemp("weights") / "squeezenet.safetensors"
    save_file(entries, path)
    return path


def by_hand(x: Tensor, entries: Entries, conv10: bool = False) -> Tensor:
    """The network on images in [0, 1] of its own size, by plain functions."""
    w = {name: value.double() for name, value in entries.items()}
    red, green, blue = (255 * x.double()).unbind(1)
    x = torch.stack([blue - 104, green - 117, red - 123], dim=1)
    x = F.conv2d(x, w["conv1.weight"], w["conv1.bias"], stride=2).relu()
    for index in range(2, 10):
        if index in (2, 5, 9):
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        s = F.conv2d(x, w[f"fire{index}.s.weight"], w[f"fire{index}.s.bias"]).relu()
        e1 = F.conv2d(s, w[f"fire{index}.e1.weight"], w[f"fire{index}.e1.bias"]).relu()
        e3 = F.conv2d(s, w[f"fire{index}.e3.weight"], w[f"fire{index}.e3.bias"], padding=1).relu()
        x = torch.cat([e1, e3], dim=1)
    if conv10:
        x = F.conv2d(x, w["conv10.weight"], w["conv10.bias"]).relu()
    return x.mean((2, 3))


@pytest.mark.parametrize("layer", ["fire9", "conv10"])
@pytest.mark.parametrize("real", [False, True])
def test_it_is_what_its_paper_describes(layer: str, real: bool, weights: Path) -> None:
    if real and not REAL.is_file():
        pytest.skip("no trained weights here")
    path = REAL if real else weights
    x = torch.rand(2, 3, 67, 67)
    spec = photos(67)
    encoder = squeezenet(spec, False, weights=str(path), resolution=67, layer=layer)  # type: ignore[arg-type]
    expected = by_hand(x, load_file(path), conv10=layer == "conv10")
    assert expected.shape == (2, 512 if layer == "fire9" else 1000) and float(expected.std()) > 0
    torch.testing.assert_close(encoder.double()(x.double()), expected, rtol=1e-6, atol=1e-5)
    assert all(value.dtype == torch.float32 for value in squeezenet(spec, False, weights=str(path)).parameters())


def test_images_of_any_size_range_and_colour_are_brought_to_what_it_was_trained_on(weights: Path) -> None:
    x = torch.rand(2, 3, 32, 32)
    larger = F.interpolate(x, (48, 48), mode="bilinear")
    encoder = squeezenet(photos(32), False, weights=str(weights), resolution=48)
    torch.testing.assert_close(encoder(x), by_hand(larger, load_file(weights)).float(), rtol=1e-3, atol=1e-3)
    grey = squeezenet(photos(32, 1), False, weights=str(weights), resolution=48)
    torch.testing.assert_close(grey(x[:, :1]), encoder(x[:, :1].repeat(1, 3, 1, 1)))
    bytes_ = qs.TaskSpec(qs.formats.Array(shape=(3, 32, 32)), qs.targets.Classes(ways=3))
    loud = squeezenet(bytes_, False, weights=str(weights), resolution=48, white=255.0)
    torch.testing.assert_close(loud(255 * x), encoder(x), rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match=r"must know what white is.*--model.white 255, or 1"):
        squeezenet(bytes_)
    with pytest.raises(ConfigError, match=r"White must be more than black.*found white=0"):
        squeezenet(bytes_, white=0.0)
    with pytest.raises(ConfigError, match=r"images of 3 channels .* but these have 5"):
        squeezenet(qs.TaskSpec(qs.formats.Array(shape=(5, 32, 32)), qs.targets.Classes(ways=3)))


@pytest.mark.parametrize(("size", "resolution"), [(32, 128), (128, 128), (150, 150)])
def test_small_images_are_enlarged(size: int, resolution: int) -> None:
    assert squeezenet(photos(size), False).pixels.resolution == resolution


def test_weights_of_another_network_are_refused(weights: Path, tmp_path: Path) -> None:
    entries = load_file(weights)
    for change, said in (
        ({"fire3.s.weight": torch.zeros(16, 64, 1, 1)}, r"'fire3.s.weight' as \(16, 64, 1, 1\), .* \(16, 128, 1, 1\)"),
        ({"fire11.s.weight": torch.zeros(1)}, r"'fire11.s.weight' as \(1,\), but in the network it is nothing"),
    ):
        save_file(entries | change, tmp_path / "other.safetensors")
        with pytest.raises(ConfigError, match=said):
            squeezenet(photos(), weights=str(tmp_path / "other.safetensors"))
    del entries["conv1.bias"]
    save_file(entries, tmp_path / "less.safetensors")
    with pytest.raises(ConfigError, match=r"'conv1.bias' as nothing"):
        squeezenet(photos(), weights=str(tmp_path / "less.safetensors"))
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="truncated or not a safetensors file"):
        squeezenet(photos(), weights=str(tmp_path / "cut.safetensors"))
    with pytest.raises(ConfigError, match=r"There is no file of weights .*none"):
        squeezenet(photos(), weights=str(tmp_path / "none"))


@pytest.mark.parametrize("learner", ["protonet", "anil", "simpleshot"])
def test_a_run_starts_from_the_weights_and_holds_them(
    learner: str, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "here.safetensors"
    file.write_bytes(weights.read_bytes())
    model = models.part("squeezenet", weights=str(file), resolution=32)
    config = photo_run(learner, model, {"distance": "cosine"} if learner == "protonet" else {})
    run = train(config, source=coloured(), out=tmp_path / "run")
    assert "starts from its own weights (--init fresh" in capsys.readouterr().err
    begin, entries = run.untrained(), load_file(file)
    prefix = "network.encoder." if learner == "anil" else "network."
    for name in ("conv1.weight", "fire5.e3.bias"):
        assert torch.equal(begin[prefix + name], entries[name].float())
        assert not torch.equal(run.params[prefix + name], begin[prefix + name]), "nothing was trained"
    x, labels = torch.rand(6, 3, 32, 32), list("aabbcc")
    expected = run.adapt(x, labels)
    expected.save(tmp_path / "model")

    file.unlink()
    again = qs.Run(tmp_path / "run", source=coloured())
    assert torch.equal(again.adapt(x, labels)(x), expected(x))
    assert torch.equal(qs.load(tmp_path / "model", device="cpu")(x), expected(x))
    assert again.evaluate(episodes=4).mean == run.evaluate(episodes=4).mean
    assert resume(tmp_path / "run", source=coloured(), iterations=3, quiet=True).kept["step"] >= 0
    with pytest.raises(ConfigError, match="There is no file of weights"):
        again.untrained()


def test_resuming_before_the_first_checkpoint_begins_with_the_weights(weights: Path, tmp_path: Path) -> None:
    config = photo_run("protonet", models.part("squeezenet", weights=str(weights), resolution=32))
    whole = train(config, source=coloured(), out=tmp_path / "a", quiet=True)
    train(config, source=coloured(), out=tmp_path / "b", quiet=True)
    for file in (tmp_path / "b" / "checkpoints").iterdir():
        file.unlink()
    again = resume(tmp_path / "b", source=coloured(), quiet=True)
    assert all(torch.equal(value, whole.params[name]) for name, value in again.params.items())


def test_the_seed_draws_the_head_and_with_fresh_the_encoder_too(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = models.part("squeezenet", weights=str(weights), resolution=32)
    begun = {}
    for name, seed, init in (("a", 0, "given"), ("b", 1, "given"), ("c", 0, "fresh"), ("d", 1, "fresh")):
        config = photo_run("anil", model, seed=seed, init=init, iterations=1)
        begun[name] = train(config, source=coloured(), out=tmp_path / name).untrained()
    head, conv = "network.head.weight", "network.encoder.conv1.weight"
    assert torch.equal(begun["a"][conv], begun["b"][conv]) and not torch.equal(begun["a"][head], begun["b"][head])
    assert not torch.equal(begun["c"][conv], begun["a"][conv]) and not torch.equal(begun["c"][conv], begun["d"][conv])
    assert "the network is drawn anew from the seed (--init given" in capsys.readouterr().err
    train(photo_run("anil", models.part("squeezenet", resolution=32)), source=coloured(), out=tmp_path / "e")
    assert "drawn from the seed (--model.weights would give it weights)" in capsys.readouterr().err


def test_a_frozen_encoder_stays_and_the_way_back_is_the_whole_network(weights: Path, tmp_path: Path) -> None:
    config = photo_run(
        "maml", models.part("squeezenet", weights=str(weights), resolution=32), {"lr": 0.1}, trainable=("head.*",)
    )
    run = train(config, source=coloured(), out=tmp_path / "run", quiet=True)
    moved = {n for n, v in run.untrained().items() if not torch.equal(v, run.params[n])}
    assert moved == {"network.head.weight", "network.head.bias"}
    module, x = run.module(), torch.rand(2, 3, 32, 32)
    assert module(x).shape == (2, 3)
    torch.testing.assert_close(module(x), run.learner.network(run.params, x))
