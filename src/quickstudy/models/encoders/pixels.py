"""Images as encoders were trained to see them: their size, their range, the order of their channels."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.errors import ConfigError
from quickstudy.hints import Within
from quickstudy.models.head import check_axes
from quickstudy.spec import TaskSpec

Side = Annotated[int, Within(1, 4096)]
"""Of a square image, in pixels."""
Triple = tuple[float, float, float]
"""A number for each of red, green and blue."""
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
"""Of ImageNet's training images, where white is 1."""


class Pixels(nn.Module):
    """Images x (n, C, H, W), black 0 and white `white`, to (n, 3, resolution, resolution): (x / white − mean) / std.

    Grey images (C = 1) are repeated to three channels. Images of another size are brought to `resolution` bilinearly.
    mean, std: of red, green and blue. bgr: the encoder wants the channels in the order blue, green, red.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, resolution: int, mean: Triple, std: Triple, white: float = 1.0, bgr: bool = False) -> None:
        super().__init__()
        self.resolution, self.bgr = resolution, bgr
        self.register_buffer("mean", white * torch.tensor(mean).reshape(3, 1, 1))
        self.register_buffer("std", white * torch.tensor(std).reshape(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        size = (self.resolution, self.resolution)
        if x.shape[-2:] != size:
            x = F.interpolate(x, size, mode="bilinear", antialias=True)
        x = (x.expand(-1, 3, -1, -1) - self.mean) / self.std
        return x.flip(1) if self.bgr else x


def pixels(
    spec: TaskSpec,
    model: str,
    resolution: int,
    mean: Triple = IMAGENET_MEAN,
    std: Triple = IMAGENET_STD,
    white: float | None = None,
    bgr: bool = False,
) -> Pixels:
    """From the images of these tasks to those that the encoder of the registered `model` wants.

    white: what white is, where the format does not say. Raises ConfigError for inputs that are no images of 1 or 3
    channels, and for images of an unknown range.
    """
    check_axes(spec, model, "images (channels, height, width)")
    if (channels := spec.input_shape[0]) not in (1, 3):
        raise ConfigError(
            f"The model {model!r} was trained on images of 3 channels (grey ones are repeated), but these have "
            f"{channels}, of the shape {spec.input_shape}. Use images of 1 or 3 channels and a learner that puts no "
            "context beside them, or another network."
        )
    white = spec.format.white if white is None else white
    if white is None or not white > 0:
        raise ConfigError(
            f"The model {model!r} must know what white is in the images, and {spec.format} do not say. Give the tasks "
            "format=quickstudy.formats.Image(size=…), or say it: --model.white 255, or 1."
            if white is None
            else f"White must be more than black, which is 0; found white={white}. Use 255, or 1."
        )
    if not all(number > 0 for number in std):
        raise ConfigError(f"The standard deviations of the channels must be positive, found std={std}.")
    return Pixels(resolution, mean, std, white, bgr)
