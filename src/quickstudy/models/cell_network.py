"""Networks made of one cell again and again, as in NAS-Bench-201 (Dong & Yang 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quickstudy.hints import Depth, Size
from quickstudy.models.cell_text import EDGES, Cell, read_cell
from quickstudy.models.conv4 import SpatialMean
from quickstudy.models.head import NormLayer, image_channels, make_norm, outputs_of
from quickstudy.registry import models
from quickstudy.spec import TaskSpec

BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
"""One of the two cells with the highest accuracy on CIFAR-10."""


def _convolution(channels: int, width: int, kernel: int, norm: NormLayer, stride: int = 1) -> nn.Sequential:
    """ReLU, convolution, normalisation, in this order."""
    layer = nn.Conv2d(channels, width, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), layer, make_norm(norm, width))


class SearchedCell(nn.Module):
    """Node j is the sum of an operation on each node before it: (n, C, H, W) to the same, from node 0 to node 3.

    What leads from nothing or to nothing has no layer.
    """

    def __init__(self, cell: Cell, channels: int, norm: NormLayer) -> None:
        super().__init__()
        reached, needed = {0}, {3}
        for (start, end), name in zip(EDGES, cell, strict=True):  # by rising end
            reached |= {end} if name != "none" and start in reached else set()
        for (start, end), name in sorted(zip(EDGES, cell, strict=True), reverse=True):  # by falling start
            needed |= {start} if name != "none" and end in needed else set()
        self.operations = nn.ModuleDict()
        for (start, end), name in zip(EDGES, cell, strict=True):
            if name == "none" or start not in reached or end not in needed:
                continue
            if name == "skip_connect":
                operation: nn.Module = nn.Identity()
            elif name == "avg_pool_3x3":
                operation = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
            else:
                operation = _convolution(channels, channels, int(name[-1]), norm)
            self.operations[f"{start}-{end}"] = operation

    def forward(self, x: Tensor) -> Tensor:
        nodes: dict[int, Tensor] = {0: x}
        for start, end in EDGES:
            if f"{start}-{end}" in self.operations:
                out = self.operations[f"{start}-{end}"](nodes[start])
                nodes[end] = nodes[end] + out if end in nodes else out
        return nodes[3] if 3 in nodes else torch.zeros_like(x)


class Halving(nn.Module):
    """Two 3×3 convolutions beside a pooled 1×1 one: (n, C, H, W) to (n, width, ⌈H/2⌉, ⌈W/2⌉)."""

    def __init__(self, channels: int, width: int, norm: NormLayer) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(channels, width, 3, norm, stride=2), _convolution(width, width, 3, norm)
        )  # fmt: skip
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(channels, width, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x) + self.shortcut(x)
        return out


@models.register("searched", axes=3)
def searched(
    spec: TaskSpec,
    head: bool = True,
    *,
    cell: str = BEST,
    width: Size = 16,
    cells: Depth = 5,
    norm_layer: NormLayer = "batch",
) -> nn.Sequential:
    """A network of NAS-Bench-201: a cell in three stages, with a halving of the image and twice the width between.

    cell: its operations, in the benchmark's own writing; the default has the highest accuracy on CIFAR-10. width:
    filters of the first stage; the benchmark has 16. cells: in each stage; the benchmark has 5.
    norm_layer: what follows each convolution: BatchNorm, GroupNorm with at most 8 groups, or nothing.
    """
    operations, channels = read_cell(cell), image_channels(spec, "searched")
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1, bias=False), make_norm(norm_layer, width)]
    for stage in range(3):
        filters = width << stage
        if stage:
            layers.append(Halving(filters // 2, filters, norm_layer))
        layers += [SearchedCell(operations, filters, norm_layer) for _ in range(cells)]
    layers += [make_norm(norm_layer, 4 * width), nn.ReLU(), SpatialMean()]
    if head:
        layers.append(nn.Linear(4 * width, outputs_of(spec)))
    return nn.Sequential(*layers).train()
