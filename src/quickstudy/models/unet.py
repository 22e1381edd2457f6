"""A small U-Net: features, or classes, of every pixel."""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.errors import ConfigError
from quickstudy.hints import Size, Within
from quickstudy.models.head import NormLayer, image_channels, make_norm
from quickstudy.registry import models
from quickstudy.spec import TaskSpec


class InOrder(nn.Module):
    """The same numbers, in the usual order in memory: convolutions may leave channels last, which GroupNorm cannot take
    where many tasks run at once."""

    def forward(self, x: Tensor) -> Tensor:
        return x.contiguous()


def _block(channels: int, width: int, norm: NormLayer) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, inputs in ((1, channels), (2, width)):
        layers[f"conv{number}"] = nn.Conv2d(inputs, width, 3, padding=1)
        if norm == "group":
            layers[f"order{number}"] = InOrder()
        layers[f"norm{number}"], layers[f"relu{number}"] = make_norm(norm, width), nn.ReLU()
    return nn.Sequential(layers)


class UNet(nn.Module):
    """Images (n, C, H, W) to maps (n, `features`, H, W): halved `depth` times, and back (Ronneberger et al. 2015).

    Each level has two 3×3 convolutions, of `width` filters at first and twice as many a level below; on the way up a
    level sees what was there on the way down.
    """

    def __init__(self, channels: int, width: int, depth: int, norm: NormLayer) -> None:
        super().__init__()
        widths = [width << level for level in range(depth + 1)]
        self.down = nn.ModuleList(_block(i, o, norm) for i, o in zip([channels, *widths], widths, strict=False))
        ups = zip(widths[:0:-1], widths[-2::-1], strict=True)
        self.up = nn.ModuleList(_block(low + high, high, norm) for low, high in ups)
        self.features = width

    def forward(self, x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            seen.append(x)
        for block, skip in zip(self.up, seen[-2::-1], strict=True):
            x = block(torch.cat([F.interpolate(x, skip.shape[-2:]), skip], 1))
        return x


@models.register("unet", axes=3, dense=True)
def unet(
    spec: TaskSpec,
    head: bool = True,
    *,
    width: Size = 32,
    depth: Annotated[int, Within(1, 6)] = 3,
    norm_layer: NormLayer = "group",
) -> nn.Module:
    """A small U-Net (Ronneberger, Fischer & Brox 2015): `width` features of each pixel, for masks.

    With `head` a 1×1 convolution gives a logit for each class.

    width: filters of each convolution at full size, twice as many a level below. depth: how often the image is halved.
    norm_layer: what follows each convolution: BatchNorm, GroupNorm with at most 8 groups, or nothing.
    """
    channels = image_channels(spec, "unet")
    if not spec.target.grid:
        raise ConfigError(
            f"The model 'unet' says something of each pixel, but these are tasks of {spec.target}. Use --model conv4, "
            "or tasks of masks."
        )
    network = UNet(channels, width, depth, norm_layer)
    if not head:
        return network
    return nn.Sequential(OrderedDict(maps=network, head=nn.Conv2d(width, spec.target.prediction_shape[0], 1)))
