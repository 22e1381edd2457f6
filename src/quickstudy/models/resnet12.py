"""ResNet-12, the larger backbone of the few-shot literature."""

from __future__ import annotations

from torch import Tensor, nn

from quickstudy.hints import Size
from quickstudy.models.conv4 import SpatialMean
from quickstudy.models.head import NormLayer, image_channels, make_norm, outputs_of
from quickstudy.registry import models
from quickstudy.spec import TaskSpec


class ResidualBlock(nn.Module):
    """Three 3×3 convolutions beside a 1×1 shortcut, leaky ReLU, max-pooling: (n, C, H, W) to (n, width, H/2, W/2)."""

    def __init__(self, channels: int, width: int, norm: NormLayer = "batch") -> None:
        super().__init__()

        def conv(size: int, inputs: int) -> list[nn.Module]:
            return [nn.Conv2d(inputs, width, size, padding=size // 2, bias=False), make_norm(norm, width)]

        self.body = nn.Sequential(
            *conv(3, channels), nn.LeakyReLU(0.1), *conv(3, width), nn.LeakyReLU(0.1), *conv(3, width)
        )
        self.shortcut = nn.Sequential(*conv(1, channels))
        self.after = nn.Sequential(nn.LeakyReLU(0.1), nn.MaxPool2d(2, ceil_mode=True))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.after(self.body(x) + self.shortcut(x))
        return out


@models.register("resnet12", axes=3)
def resnet12(
    spec: TaskSpec,
    head: bool = True,
    *,
    widths: tuple[Size, Size, Size, Size] = (64, 160, 320, 640),
    norm_layer: NormLayer = "batch",
) -> nn.Sequential:
    """ResNet-12: four residual blocks of three convolutions and averaging (Oreshkin et al. 2018; Lee et al. 2019).

    Without the DropBlock regularisation of Lee et al., which is not a pure function.

    widths: filters of the blocks.
    norm_layer: what follows each convolution: BatchNorm, GroupNorm with at most 8 groups, or nothing.
    """
    channels = image_channels(spec, "resnet12")
    blocks = [
        ResidualBlock(inputs, width, norm_layer) for inputs, width in zip((channels, *widths), widths, strict=False)
    ]
    layers: list[nn.Module] = [*blocks, SpatialMean()]
    if head:
        layers.append(nn.Linear(widths[-1], outputs_of(spec)))
    return nn.Sequential(*layers)
