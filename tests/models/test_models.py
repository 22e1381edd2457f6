"""Networks of the literature: the sizes their papers state."""

from __future__ import annotations

import pytest
import torch
from small_tasks import classes, numbers
from torch import nn

from quickstudy.errors import ConfigError
from quickstudy.models import FiLM, conv4, mlp, resnet12
from quickstudy.registry import formats, models, targets
from quickstudy.spec import TaskSpec


def images(size: int, channels: int = 1, ways: int = 5) -> TaskSpec:
    return TaskSpec(formats.make("image", size=size, channels=channels), targets.make("classes", ways=ways))


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def needed(name: str) -> list[str]:
    """The options without which a model cannot be built, such as the file of an encoder."""
    return [option for option, p in models.part(name).parameters().items() if p.default is p.empty]


@pytest.mark.parametrize(
    ("spec", "pool", "features"),
    [(images(28), True, 64), (images(28), False, 64), (images(84, 3), True, 1600), (images(84, 3), False, 64)],
)
def test_conv4_gives_the_embeddings_of_its_papers(spec: TaskSpec, pool: bool, features: int) -> None:
    x = torch.randn(2, *spec.input_shape)
    assert conv4(spec, head=False, pool=pool)(x).shape == (2, features)
    assert conv4(spec, pool=pool)(x).shape == (2, 5)


def test_conv4_has_the_published_number_of_parameters() -> None:
    """Snell et al. (2017) on Omniglot: 111 936; with 32 filters on miniImageNet, MAML's is 32 901 with its head."""
    assert parameters(conv4(images(28), head=False)) == 111_936
    assert parameters(conv4(images(84, 3), width=32)) == 32_901


def test_resnet12_embeds_in_640_numbers() -> None:
    x = torch.randn(2, 3, 32, 32)
    embedding = resnet12(images(32, 3), head=False)
    assert embedding(x).shape == (2, 640)
    assert 12.4e6 < parameters(embedding) < 12.5e6
    assert resnet12(images(32, 3), widths=(4, 8, 8, 16))(x).shape == (2, 5)
    assert sum(isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3) for layer in embedding.modules()) == 12


def test_mlp_is_the_regression_network_of_maml() -> None:
    sinusoid = numbers((1,))
    module = mlp(sinusoid)
    assert [tuple(p.shape) for p in module.parameters()] == [(40, 1), (40,), (40, 40), (40,), (1, 40), (1,)]
    assert mlp(images(4), width=7)(torch.randn(3, 1, 4, 4)).shape == (3, 5)
    assert mlp(images(4), head=False, width=7)(torch.randn(3, 1, 4, 4)).shape == (3, 7)


@pytest.mark.parametrize("target_shape", [(), (1,), (4,), (2, 3)])
def test_mlp_gives_the_shape_of_the_target(target_shape: tuple[int, ...]) -> None:
    spec = numbers((6,), target_shape)
    assert mlp(spec)(torch.randn(5, 6)).shape == (5, *target_shape)


@pytest.mark.parametrize("model", [conv4, resnet12])
@pytest.mark.parametrize("shape", [(5,), (28, 28)])
def test_networks_for_images_refuse_anything_else(model, shape: tuple[int, ...]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=rf"takes images \(channels, height, width\).*{len(shape)}?.*--model mlp"):
        model(classes(shape, 5))


def test_film_leaves_the_module_it_is_given_alone() -> None:
    module, x = nn.Sequential(nn.Linear(2, 3)), torch.randn(4, 2)
    before = module(x)
    film = FiLM(module, "0", channels=3, size=2)
    film.context += 1.0
    assert torch.equal(module(x), before)
    assert not torch.allclose(film(x), before)


def test_a_spec_without_outputs_is_refused() -> None:
    with pytest.raises(ConfigError, match="0 classes, has no size"):
        mlp(classes((3,), 0))


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_normalisation_layers(norm: str) -> None:
    kinds = {"batch": nn.BatchNorm2d, "group": nn.GroupNorm, "none": nn.Identity}
    for module in (
        conv4(images(28), norm_layer=norm, width=6),
        resnet12(images(16), widths=(4, 6, 9, 7), norm_layer=norm),
    ):  # type: ignore[arg-type]
        found = [type(layer) for layer in module.modules() if isinstance(layer, tuple(kinds.values()))]
        assert set(found) == {kinds[norm]}
        assert module(torch.randn(2, 1, *[28 if len(found) == 4 else 16] * 2)).shape == (2, 5)


@pytest.mark.parametrize("name", [name for name in models if not needed(name)])
def test_a_new_model_is_ready_for_training(name: str) -> None:
    shape = {"lstm": (7, 2), "columns": (7,), "cells": (7, 3)}.get(name)
    spec = images(16) if shape is None else classes(shape, 5)
    if models.traits(name).several:
        spec = TaskSpec(formats.make("text"), spec.target)
    if name == "unet":
        spec = TaskSpec(spec.format, targets.make("masks", size=16))
    if name == "transcriber":
        spec = TaskSpec(
            formats.make("audio", longer="refuse"), targets.make("sequence", tokens=("a",), longest=3, positions=98)
        )
    module = models[name](spec)
    assert all(layer.training for layer in module.modules())
