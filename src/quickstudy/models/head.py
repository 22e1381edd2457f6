"""What the models share: which inputs they fit, how many outputs they need, which normalisation layer they use."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.errors import ConfigError
from quickstudy.registry import models
from quickstudy.spec import TaskSpec

NormLayer = Literal["batch", "group", "none"]


def outputs_of(spec: TaskSpec) -> int:
    if spec.outputs < 1:
        raise ConfigError(f"The target, {spec.target}, has no size, so the number of outputs is unknown. Give it one.")
    return spec.outputs


def check_axes(spec: TaskSpec, model: str, takes: str) -> None:
    """ConfigError where one input has more or fewer axes than the registered `model` takes; takes: that in words."""
    axes = len(spec.input_shape)
    if models.traits(model).axes == axes:
        return
    fitting = [f"--model {name}" for name in models if models.traits(name).axes in (None, axes)]
    raise ConfigError(
        f"The model {model!r} takes {takes}, but these are {spec.format}. "
        f"Use {', '.join(fitting)}, or a module of your own."
    )


def image_channels(spec: TaskSpec, model: str) -> int:
    """Channels of the tasks' images; a ConfigError where the inputs are no images."""
    check_axes(spec, model, "images (channels, height, width)")
    return spec.input_shape[0]


class Encoded(nn.Module):
    """What `encoder` makes of its inputs, whatever they are, passed through `head`."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        output: Tensor = self.head(self.encoder(*inputs, **named))
        return output


def with_head(encoder: nn.Module, features: int, spec: TaskSpec) -> Encoded:
    """An encoder to (n, features) with a linear layer to what the target asks for."""
    head, shape = nn.Linear(features, outputs_of(spec)), spec.target.layer()
    return Encoded(encoder, head if shape is None else nn.Sequential(OrderedDict(linear=head, shape=shape)))


class MapHead(nn.Module):
    """Maps (n, features, h, w) to masks of logits: a 1×1 convolution, then bilinear to their size."""

    def __init__(self, features: int, spec: TaskSpec) -> None:
        super().__init__()
        self.linear, self.grid = nn.Conv2d(features, spec.target.prediction_shape[0], 1), spec.target.grid

    def forward(self, z: Tensor) -> Tensor:
        return F.interpolate(self.linear(z), self.grid, mode="bilinear")


def make_norm(kind: NormLayer, channels: int) -> nn.Module:
    """BatchNorm, GroupNorm with at most 8 groups, or nothing."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    groups = next(g for g in range(min(8, channels), 0, -1) if channels % g == 0)
    return nn.GroupNorm(groups, channels) if kind == "group" else nn.Identity()
