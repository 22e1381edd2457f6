"""Networks of timm: they compute what timm computes, start from its weights, and are stored without it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_cache import offline, put
from photos import coloured, photo_run, photos
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision_stand_in import import_timm

import quickstudy as qs
from quickstudy.errors import CheckpointError, ConfigError
from quickstudy.learners.network import Network
from quickstudy.models import timm as encoder
from quickstudy.registry import models
from quickstudy.runs.train import resume, train

try:
    timm = import_timm()
except ModuleNotFoundError as error:
    pytest.skip(f"could not import {error.name!r}", allow_module_level=True)

SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": (
        "vit_tiny_patch16_224",
        {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "drop_path_rate": 0.1},
    ),
    "convnext": ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16), "drop_path_rate": 0.1}),
    "resnet": ("resnet18", {"layers": (1, 1, 1, 1), "channels": (8, 8, 16, 16), "drop_rate": 0.1}),
}


def saved(kind: str, folder: Path, classes: int = 7) -> nn.Module:
    """A small network of timm with a classifier, trained a little as it were, written to a folder."""
    name, arguments = SMALL[kind]
    torch.manual_seed(17)
    made: nn.Module = timm.create_model(name, num_classes=classes, **arguments)
    with torch.no_grad():
        for value in (*made.parameters(), *made.buffers()):
            if value.is_floating_point():
                value.add_(0.1 * torch.rand(value.shape))
    timm.models.save_for_hf(made, folder, safe_serialization=True)
    return made.eval()


@pytest.mark.parametrize("kind", SMALL)
def test_it_computes_what_timm_computes(kind: str, tmp_path: Path) -> None:
    made, x = saved(kind, tmp_path), torch.rand(3, 3, 32, 32)
    size = 32 if kind == "vit" else 224
    ours = encoder(photos(size), False, name=str(tmp_path))
    cfg = made.pretrained_cfg
    mean, std = (torch.tensor(cfg[name]).reshape(3, 1, 1) for name in ("mean", "std"))
    if size != 32:
        x = torch.rand(2, 3, size, size)
    expected = made.forward_head(made.forward_features((x - mean) / std), pre_logits=True)  # type: ignore[operator]
    torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-5)
    network = Network(ours, "given")
    torch.testing.assert_close(
        network(network.init(torch.Generator().manual_seed(0)), x), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("kind", "learner"), [("vit", "protonet"), ("convnext", "finetune"), ("resnet", "anil")])
def test_a_run_needs_neither_folder_nor_weights_again(kind: str, learner: str, tmp_path: Path) -> None:
    made = saved(kind, tmp_path / "network")
    model = models.part("timm", name=str(tmp_path / "network"), resolution=32)
    options = {"norm": "given"} if kind == "resnet" else {}
    run = train(photo_run(learner, model, options), source=coloured(), out=tmp_path / "run", quiet=True)
    begun, prefix = run.untrained(), "network.encoder.network." if learner == "anil" else "network.network."
    stored = {name: value for name, value in made.named_parameters() if prefix + name in begun}
    assert len(stored) > 10 and all(torch.equal(begun[prefix + name], value) for name, value in stored.items())
    assert any(not torch.equal(run.params[prefix + name], value) for name, value in stored.items()), "nothing trained"
    x, labels = torch.rand(6, 3, 32, 32), list("aabbcc")
    expected = run.adapt(x, labels)
    expected.save(tmp_path / "model")

    shutil.rmtree(tmp_path / "network")
    again = qs.Run(tmp_path / "run", source=coloured())
    assert torch.equal(again.adapt(x, labels)(x), expected(x))
    assert torch.equal(qs.load(tmp_path / "model", device="cpu")(x), expected(x))
    assert again.evaluate(episodes=4).mean == run.evaluate(episodes=4).mean
    resume(tmp_path / "run", source=coloured(), iterations=3, quiet=True)
    with pytest.raises(ConfigError, match=r"There is no folder .*network"):
        again.untrained()


def test_without_weights_the_seed_draws_it_as_timm_does(tmp_path: Path) -> None:
    saved("vit", tmp_path / "network")
    model = models.part("timm", name=str(tmp_path / "network"), pretrained=False)
    begun = [
        train(photo_run("protonet", model, seed=seed), source=coloured(), out=tmp_path / f"{index}", quiet=True)
        for index, seed in enumerate((0, 0, 1))
    ]
    one, same, other = (run.untrained() for run in begun)
    moved = [name for name in one if name.startswith("network.") and not torch.equal(one[name], other[name])]
    assert {"network.network.pos_embed", "network.network.blocks.0.attn.qkv.weight"} <= set(moved)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert 0.015 < float(one["network.network.blocks.0.attn.qkv.weight"].std()) < 0.025, "timm's own 0.02"


def test_images_of_another_size(tmp_path: Path) -> None:
    """A vision transformer's positions are interpolated by timm."""
    made = saved("vit", tmp_path)
    ours = encoder(photos(64), False, name=str(tmp_path), resolution=64)
    larger = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=0, img_size=64).eval()
    x = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(ours(x), larger((x - 0.5) / 0.5), rtol=1e-4, atol=1e-5)
    assert made.pos_embed.shape[1] < ours.network.pos_embed.shape[1]  # type: ignore[union-attr, index]


def test_meta_gradients_are_exact(tmp_path: Path) -> None:
    """Through attention, which timm would fuse, and whose fused form has no second derivative."""
    saved("vit", tmp_path)
    module = encoder(photos(32), name=str(tmp_path)).double()
    learner = qs.registry.learners["maml"](module, photos(32), lr=0.1, steps=1)
    params = {
        name: value.double() if value.is_floating_point() else value
        for name, value in learner.init(torch.Generator().manual_seed(0)).items()
    }
    x, y = torch.rand(6, 3, 32, 32, dtype=torch.float64), torch.arange(6) % 3
    support = qs.Examples(x[:3], y[:3], torch.ones(3, dtype=torch.bool))
    episode = qs.Episode(support, qs.Examples(x[3:], y[3:], torch.ones(3, dtype=torch.bool)))
    name, generator = "network.encoder.network.blocks.0.attn.qkv.weight", torch.Generator().manual_seed(1)
    step = 1e-5 * torch.randn(params[name].shape, generator=generator, dtype=torch.float64)

    def loss(value: torch.Tensor) -> torch.Tensor:
        return learner.loss(params | {name: value}, episode)

    value = params[name].requires_grad_()
    (grad,) = torch.autograd.grad(loss(value), value)
    slope = loss(value + step) - loss(value - step)
    torch.testing.assert_close(slope / 2, (grad * step).sum(), rtol=1e-5, atol=0)


def test_weights_come_from_the_cache_of_the_hub_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline(tmp_path / "cache", monkeypatch)
    with pytest.raises(ConfigError, match=r"'timm/test_vit.*' is no folder here, is not in the cache .* fetch it once"):
        encoder(photos(), name="test_vit")
    with pytest.raises(ConfigError, match=r"'some/body' is no folder here, is not in the cache"):
        encoder(photos(), name="some/body")
    torch.manual_seed(5)
    made = timm.create_model("test_vit", num_classes=9)
    timm.models.save_for_hf(made, tmp_path / "made", safe_serialization=True)
    put(tmp_path / "made", tmp_path / "cache", made.pretrained_cfg["hf_hub_id"])
    put(tmp_path / "made", tmp_path / "cache", "some/body")
    weight = made.blocks[0].attn.qkv.weight
    for name in ("test_vit", "some/body", "hf-hub:some/body"):
        found = encoder(photos(), False, name=name)
        assert torch.equal(found.network.blocks[0].attn.qkv.weight, weight)  # type: ignore[union-attr, index]
    for where in ("made/model.safetensors", "made"):
        found = encoder(photos(), False, name="test_vit", pretrained=str(tmp_path / where))
        assert torch.equal(found.network.blocks[0].attn.qkv.weight, weight)  # type: ignore[union-attr, index]


def test_weights_that_are_not_all_there_are_refused(tmp_path: Path) -> None:
    saved("vit", tmp_path)
    whole = load_file(tmp_path / "model.safetensors")
    save_file({n: v for n, v in whole.items() if not n.startswith("blocks.1.mlp")}, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match=r"lacks blocks.1.mlp.fc1.weight.* which would be random"):
        encoder(photos(), name=str(tmp_path))
    save_file(whole | {"blocks.1.mlp.fc1.weight": torch.zeros(3, 3)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="timm cannot load .*size mismatch"):
        encoder(photos(), name=str(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"has no config.json beside weights .*--model.pretrained False"):
        encoder(photos(), name=str(tmp_path))
    (tmp_path / "config.json").write_text('{"architecture": "bert"}')
    with pytest.raises(ConfigError, match=r"is no model of timm: its config.json names the architecture 'bert'"):
        encoder(photos(), name=str(tmp_path))
    with pytest.raises(ConfigError, match=r"takes images \(channels, height, width\)"):
        encoder(
            qs.TaskSpec(qs.formats.Array(shape=(5,)), qs.targets.Classes(ways=3)), name="test_vit", pretrained=False
        )


def test_batch_norm_with_an_activation_keeps_it() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), timm.layers.BatchNormAct2d(4), nn.Flatten()).eval()
    network, x = Network(module, "given"), torch.rand(2, 3, 6, 6)
    params = network.init(torch.Generator())
    params |= {f"network.{name}": value for name, value in module.named_parameters()}
    torch.testing.assert_close(network(params, x), module(x))
