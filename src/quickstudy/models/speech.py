"""A small residual network for spectrograms, which pools over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quickstudy.hints import Size
from quickstudy.models.head import NormLayer, check_axes, make_norm, outputs_of
from quickstudy.models.resnet8 import SmallBlock
from quickstudy.registry import models
from quickstudy.spec import TaskSpec


class TimePooling(nn.Module):
    """The mean and the largest value over time, of each channel and band: (n, C, bands, frames) to (n, 2 C bands)."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1, 2)
        return torch.cat([x.mean(-1), x.amax(-1)], dim=1)


@models.register("speech", axes=3)
def speech(
    spec: TaskSpec, head: bool = True, *, widths: tuple[Size, ...] = (32, 64, 128), norm_layer: NormLayer = "batch"
) -> nn.Sequential:
    """Residual network for spectrograms (1, mels, frames) of sounds of any kind, which says what is heard, not when.

    A 5×5 convolution that halves bands and frames, pooling and residual blocks that halve them again, and the mean and
    the maximum over time of every channel and band. The last block has no ReLU, so that embeddings are signed.

    widths: filters of the stages.
    norm_layer: what follows each convolution: BatchNorm, GroupNorm with at most 8 groups, or nothing.
    """
    check_axes(spec, "speech", "spectrograms (channels, mels, frames)")
    stem, *blocks = widths
    sizes = [(size + 1) // 2 for size in spec.input_shape[1:]]

    def halving() -> tuple[int, int]:
        """What to pool over, where there is something to halve."""
        nonlocal sizes
        kernel = [min(2, size) for size in sizes]
        sizes = [size // by for size, by in zip(sizes, kernel, strict=True)]
        return kernel[0], kernel[1]

    layers: list[nn.Module] = [
        nn.Conv2d(spec.input_shape[0], stem, 5, stride=2, padding=2, bias=False),
        make_norm(norm_layer, stem),
        nn.ReLU(),
        nn.MaxPool2d(halving()),
    ]
    for index, width in enumerate(blocks):
        last = index + 1 == len(blocks)
        layers.append(SmallBlock(widths[index], width, norm_layer, active=head or not last, pool=halving()))
    layers.append(TimePooling())
    if head:
        with torch.no_grad():
            size = nn.Sequential(*layers).eval()(torch.zeros(1, *spec.input_shape)).shape[1]
        layers.append(nn.Linear(size, outputs_of(spec)))
    return nn.Sequential(*layers).train()
