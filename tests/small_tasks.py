"""Small made-up tasks in float64, and networks that fit them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quickstudy.episode import Episode, Examples, Params
from quickstudy.registry import formats, targets
from quickstudy.spec import TaskSpec


def classes(shape: tuple[int, ...], ways: int) -> TaskSpec:
    """Arrays of `shape`, of which each is of one of `ways` classes."""
    return TaskSpec(formats.make("array", shape=shape), targets.make("classes", ways=ways))


def numbers(shape: tuple[int, ...], target: tuple[int, ...] = (1,)) -> TaskSpec:
    """Arrays of `shape`, each with a label of the shape `target`."""
    return TaskSpec(formats.make("array", shape=shape), targets.make("numbers", shape=target))


VECTORS = classes((5,), 3)
IMAGES = classes((1, 4, 4), 3)
VALUES = numbers((5,), (2,))
MASKS = TaskSpec(formats.make("array", shape=(1, 4, 4)), targets.make("masks", ways=3, size=4))


def examples(spec: TaskSpec, count: int, seed: int = 0, tasks: int | None = None) -> Examples:
    """`count` examples (of each of `tasks` tasks); class c is centred on a point of its own."""
    generator = torch.Generator().manual_seed(seed)
    lead = (count,) if tasks is None else (tasks, count)
    x = torch.randn((*lead, *spec.input_shape), generator=generator, dtype=torch.float64)
    if spec.target.grid:
        y = (x[..., 0, :, :] + 1).long().clamp(0, spec.ways - 1)  # darker, grey and brighter pixels
    elif spec.ways:
        y = torch.arange(count).remainder(spec.ways).expand(lead).clone()
        x = x + torch.randn((spec.ways, *spec.input_shape), generator=generator, dtype=torch.float64)[y]
    else:
        y = torch.randn((*lead, *spec.target.prediction_shape), generator=generator, dtype=torch.float64)
    return Examples(x, y, torch.ones(lead, dtype=torch.bool))


def episodes(spec: TaskSpec, tasks: int | None = 3, seed: int = 0, support: int = 6, query: int = 6) -> Episode:
    """`tasks` episodes with a task axis, or one without it."""
    return Episode(examples(spec, support, 2 * seed, tasks), examples(spec, query, 2 * seed + 1, tasks))


def perceptron(spec: TaskSpec, outputs: int) -> nn.Sequential:
    """Smooth, so that finite differences are accurate everywhere."""
    return nn.Sequential(nn.Linear(*spec.input_shape, 6), nn.Tanh(), nn.Linear(6, outputs)).double()


def convolutional(outputs: int) -> nn.Sequential:
    """A convolution with BatchNorm on 4 × 4 images."""
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(12, outputs)
    ).double()


def random_params(params: Params, seed: int = 0) -> Params:
    """φ in float64 with random values everywhere, so that nothing is 0 or 1 by initialisation."""
    generator = torch.Generator().manual_seed(seed)
    return {
        n: p + 0.3 * torch.randn(p.shape, generator=generator, dtype=torch.float64) if p.is_floating_point() else p
        for n, p in params.items()
    }


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gradient(value: Tensor, params: Params) -> Params:
    """∂value/∂p by name, zeros where there is none."""
    return dict(zip(params, torch.autograd.grad(value, list(params.values()), materialize_grads=True), strict=True))


def requiring_grad(params: Params) -> Params:
    return {name: value.detach().requires_grad_() for name, value in params.items()}
