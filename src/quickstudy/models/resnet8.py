"""A small residual network for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quickstudy.hints import Size
from quickstudy.models.head import NormLayer, image_channels, make_norm, outputs_of
from quickstudy.registry import models
from quickstudy.spec import TaskSpec


class SmallBlock(nn.Module):
    """Two 3×3 convolutions beside a 1×1 shortcut, ReLU (if `active`), pooling: (n, C, H, W) to (n, width, H/2, W/2).

    pool: how many rows and columns become one.
    """

    def __init__(
        self, channels: int, width: int, norm: NormLayer, active: bool, pool: tuple[int, int] = (2, 2)
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            make_norm(norm, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            make_norm(norm, width),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), make_norm(norm, width))
        self.after = nn.Sequential(nn.ReLU() if active else nn.Identity(), nn.MaxPool2d(pool))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.after(self.body(x) + self.shortcut(x))
        return out


@models.register("resnet8", axes=3)
def resnet8(
    spec: TaskSpec,
    head: bool = True,
    *,
    widths: tuple[Size, ...] = (32, 64, 128, 256),
    norm_layer: NormLayer = "batch",
) -> nn.Sequential:
    """A convolution and three residual blocks, each with a halving of the image: more accurate than conv4, as fast.

    The last block has no ReLU, so that embeddings are signed.

    widths: filters of the stages.
    norm_layer: what follows each convolution: BatchNorm, GroupNorm with at most 8 groups, or nothing.
    """
    channels = image_channels(spec, "resnet8")
    stem, *blocks = widths
    layers: list[nn.Module] = [
        nn.Conv2d(channels, stem, 3, padding=1, bias=False),
        make_norm(norm_layer, stem),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]
    for index, width in enumerate(blocks):
        last = index + 1 == len(blocks)
        layers.append(SmallBlock(widths[index], width, norm_layer, active=head or not last))
    layers.append(nn.Flatten())
    if head:
        with torch.no_grad():
            size = nn.Sequential(*layers).eval()(torch.zeros(1, *spec.input_shape)).shape[1]
        layers.append(nn.Linear(size, outputs_of(spec)))
    return nn.Sequential(*layers).train()
