"""SqueezeNet 1.0, a small network that was trained on ImageNet."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.hints import Size, Within
from quickstudy.models.encoders.pixels import Pixels, pixels
from quickstudy.models.encoders.weights import load_weights
from quickstudy.models.given import keep_weights
from quickstudy.models.head import Encoded, MapHead, with_head
from quickstudy.registry import models
from quickstudy.spec import TaskSpec

Side = Annotated[int, Within(32, 4096)]
Layer = Literal["fire9", "conv10"]
_SIZES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))  # of fire2 … fire9
_MAPPED = {"conv1": 96, "fire3": 128, "fire5": 256, "fire7": 384, "fire9": 512}
_LEAST = 1e-6
_POOLED = ("fire4", "fire8")
_MEAN, _STD = (123 / 255, 117 / 255, 104 / 255), (1 / 255,) * 3  # Caffe's: 0 … 255 less the means, blue first
_CLASSES = 1000  # of ImageNet
_RESOLUTION = 128  # where nearest centroids on photographs of 64 pixels are best


class Fire(nn.Module):
    """A 1×1 convolution to `squeezed` channels, then 1×1 and 3×3 ones to `expanded` each, side by side: (n, C, H, W) to
    (n, 2 · expanded, H, W)."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.s = nn.Conv2d(channels, squeezed, 1)
        self.e1 = nn.Conv2d(squeezed, expanded, 1)
        self.e3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.s(x))
        return torch.cat([F.relu(self.e1(x)), F.relu(self.e3(x))], dim=1)


class SqueezeNet(nn.Module):
    """SqueezeNet 1.0 (Iandola et al. 2016) up to `layer`, averaged over space: images (n, C, H, W) to (n, features).

    pixels: what brings images to those that it was trained on. features: 512 after fire9, 1000 after conv10. maps: the
    side of maps (n, features, maps, maps) that it gives instead, if it does: of the outputs of `_MAPPED`, joined as a
    hypercolumn (Hariharan et al. 2015). Each has length 1 at each place, so that none outweighs another.
    """

    def __init__(self, pixels: Pixels, layer: Layer = "fire9", maps: int = 0) -> None:
        super().__init__()
        self.pixels, self.maps = pixels, maps
        self.conv1 = nn.Conv2d(3, 96, 7, stride=2)
        channels = 96
        for index, (squeezed, expanded) in enumerate(_SIZES, start=2):
            self.add_module(f"fire{index}", Fire(channels, squeezed, expanded))
            channels = 2 * expanded
        if layer == "conv10":
            self.conv10 = nn.Conv2d(channels, _CLASSES, 1)
        self.features = sum(_MAPPED.values()) if maps else _CLASSES if layer == "conv10" else channels

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(self.pixels(x)))
        seen = {"conv1": x}
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        for index in range(2, 2 + len(_SIZES)):
            name = f"fire{index}"
            x = seen[name] = self.get_submodule(name)(x)
            if name in _POOLED:
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        if self.maps:
            return torch.cat([_map(seen[name], self.maps) for name in _MAPPED], 1)
        if self.features == _CLASSES:
            x = F.relu(self.conv10(x))
        return x.mean(dim=(2, 3))


def _map(z: Tensor, side: int) -> Tensor:
    """(n, C, H, W) of length 1 at each place, as (n, C, side, side)."""
    unit = z / (z.square().sum(1, keepdim=True) + _LEAST).sqrt()
    return F.interpolate(unit, (side, side), mode="bilinear")


@models.register("squeezenet", axes=3, dense=True, drawn={"weights": ""})
def squeezenet(
    spec: TaskSpec,
    head: bool = True,
    *,
    weights: str = "",
    layer: Layer = "fire9",
    resolution: Side | None = None,
    maps: Size | None = None,
    white: float | None = None,
) -> nn.Module:
    """SqueezeNet 1.0 (Iandola et al. 2016), with weights from a file: 512 features of images of any size.

    With `head` a linear layer, drawn anew, gives `spec.outputs` numbers. The weights become part of a run: the file is
    not needed again.

    weights: a safetensors file with the entries conv1, fire2.s, fire2.e1, fire2.e3, … fire9.e3 and conv10, each .weight
    and .bias, of a network that was trained on BGR images 0 … 255 less (104, 117, 123); drawn from the seed if not
    given.
    layer: whose output is averaged over space: fire9 (512 numbers), or conv10 (1000: scores of ImageNet's classes).
    resolution: the side that images are brought to, in pixels; if not given 128, or their own where that is larger.
    maps: the side of the maps of features that masks are made of, of several layers together; if not given half that of
    the images. Without masks there are none.
    white: what white is in images whose format does not say: 1 or 255.
    """
    side = max(_RESOLUTION, *spec.input_shape[1:]) if resolution is None else resolution
    own = (spec.input_shape[-1] // 2 if maps is None else maps) if spec.target.grid else 0
    network = SqueezeNet(pixels(spec, "squeezenet", side, _MEAN, _STD, white, bgr=True), layer, max(own, 0))
    if weights:
        load_weights(network, weights, unused=("conv10.",))
        keep_weights(network)
    if head and own:
        return Encoded(network, MapHead(network.features, spec))
    return with_head(network, network.features, spec) if head else network
