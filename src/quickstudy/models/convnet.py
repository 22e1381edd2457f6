"""A convolutional network whose size and shape are options, so that it can be searched for."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from quickstudy.errors import ConfigError
from quickstudy.hints import Depth, Size
from quickstudy.models.head import NormLayer, image_channels, make_norm, outputs_of
from quickstudy.registry import models
from quickstudy.spec import TaskSpec

_WIDEST = 2048


def _block(
    channels: int, width: int, kernel: int, separable: bool, strided: bool, pooled: bool, norm: NormLayer
) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    stride, padding = 2 if strided else 1, kernel // 2
    if separable:
        layers["each"] = nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=False)
        layers["mix"] = nn.Conv2d(channels, width, 1, bias=False)
    else:
        layers["conv"] = nn.Conv2d(channels, width, kernel, stride, padding, bias=False)
    layers["norm"] = make_norm(norm, width)
    layers["relu"] = nn.ReLU()
    if pooled:
        layers["pool"] = nn.MaxPool2d(2)
    return nn.Sequential(layers)


@models.register("convnet", axes=3)
def convnet(
    spec: TaskSpec,
    head: bool = True,
    *,
    width: Size = 32,
    growth: float = 1.0,
    depth: Depth = 4,
    kernel: Size = 3,
    separable: bool = False,
    early: Depth = 0,
    norm_layer: NormLayer = "batch",
) -> nn.Sequential:
    """Convolutions with normalisation, ReLU and a halving each, whose width, depth and kind are options.

    With `head` a linear layer gives `spec.outputs` numbers. Images that are one pixel are halved no more.

    width: filters of the first block. growth: how many times as many each next one has. depth: blocks. kernel: side of
    the filters, odd. separable: from the second block on, each channel is filtered apart, and then they are mixed
    (Howard et al. 2017): much less to compute. early: of so many first blocks the halving is a stride of the
    convolution, which then has a quarter to compute; of the others 2×2 max-pooling after it.
    norm_layer: what follows each convolution: BatchNorm, GroupNorm with at most 8 groups, or nothing.
    """
    channels, side = image_channels(spec, "convnet"), min(spec.input_shape[1:])
    if depth < 1:
        raise ConfigError("convnet needs at least one block. Raise the depth.")
    if kernel % 2 == 0:
        raise ConfigError(f"convnet has filters of odd sides, found kernel={kernel}. Take {kernel + 1}.")
    if growth <= 0 or width * growth ** (depth - 1) > _WIDEST:
        raise ConfigError(
            f"The last block of convnet would have {width * growth ** (depth - 1):.0f} filters, expected 1 to "
            f"{_WIDEST}. Change growth, width or depth."
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index in range(depth):
        filters, halved = max(1, round(width * growth**index)), side > 1
        layers[f"block{index + 1}"] = _block(
            channels, filters, kernel, separable and index > 0, halved and index < early, halved and index >= early,
            norm_layer,
        )  # fmt: skip
        side = (side + 1) // 2 if halved and index < early else side // 2 if halved else side
        channels = filters
    layers["features"] = nn.Flatten()
    if head:
        with torch.no_grad():
            size = nn.Sequential(layers).eval()(torch.zeros(1, *spec.input_shape)).shape[1]
        layers["head"] = nn.Linear(size, outputs_of(spec))
    return nn.Sequential(layers).train()
