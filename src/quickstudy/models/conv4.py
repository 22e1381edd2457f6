"""The four-layer convolutional network of the few-shot literature."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from quickstudy.errors import ConfigError
from quickstudy.hints import Size
from quickstudy.models.head import NormLayer, image_channels, make_norm, outputs_of
from quickstudy.registry import models
from quickstudy.spec import TaskSpec

_LEAST = 16  # pixels that are one after four halvings


class SpatialMean(nn.Module):
    """(n, C, H, W) to (n, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


def _block(channels: int, width: int, pool: bool, norm: NormLayer) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(channels, width, 3, stride=1 if pool else 2, padding=1),
        norm=make_norm(norm, width),
        relu=nn.ReLU(),
    )
    if pool:
        layers["pool"] = nn.MaxPool2d(2)
    return nn.Sequential(layers)


@models.register("conv4", axes=3)
def conv4(
    spec: TaskSpec, head: bool = True, *, width: Size = 64, pool: bool = True, norm_layer: NormLayer = "batch"
) -> nn.Sequential:
    """Four 3×3 convolutions of `width` filters, each with normalisation, ReLU and a halving of the image.

    With `head` a linear layer gives `spec.outputs` numbers.

    width: filters of each convolution. pool: halve by 2×2 max-pooling and flatten (Vinyals et al. 2016; Snell et al.
    2017), or by strides and average over space at the end (MAML's Omniglot network).
    norm_layer: what follows each convolution: BatchNorm, GroupNorm with at most 8 groups, or nothing.
    """
    channels, side = image_channels(spec, "conv4"), min(spec.input_shape[1:])
    if pool and side < _LEAST:
        raise ConfigError(
            f"conv4 halves images four times, and of {side} pixels nothing is left. Leave the pooling out (pool=False, "
            "--model.no-pool), or choose larger images."
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index in range(4):
        layers[f"block{index + 1}"] = _block(channels if index == 0 else width, width, pool, norm_layer)
    layers["features"] = nn.Flatten() if pool else SpatialMean()
    if head:
        with torch.no_grad():
            size = nn.Sequential(layers).eval()(torch.zeros(1, *spec.input_shape)).shape[1]
        layers["head"] = nn.Linear(size, outputs_of(spec))
    return nn.Sequential(layers).train()
