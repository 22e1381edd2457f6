"""What the models share: how many outputs they need, and which normalisation layer they use."""

from __future__ import annotations

from typing import Literal

from torch import nn

from quickstudy.episode import TaskSpec
from quickstudy.errors import ConfigError

NormLayer = Literal["batch", "group", "none"]


def outputs_of(spec: TaskSpec) -> int:
    if spec.outputs < 1:
        raise ConfigError("The tasks' spec has neither ways nor a target shape, so the number of outputs is unknown.")
    return spec.outputs


def image_channels(spec: TaskSpec, model: str) -> int:
    """Channels of the tasks' images; a ConfigError where the inputs are no images."""
    if len(spec.input_shape) != 3:
        raise ConfigError(
            f"The model {model!r} takes images (channels, height, width), but one input here has shape "
            f"{spec.input_shape}. Use --model mlp, or a module of your own."
        )
    return spec.input_shape[0]


def make_norm(kind: NormLayer, channels: int) -> nn.Module:
    """BatchNorm, GroupNorm with at most 8 groups, or nothing."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    groups = next(g for g in range(min(8, channels), 0, -1) if channels % g == 0)
    return nn.GroupNorm(groups, channels) if kind == "group" else nn.Identity()
