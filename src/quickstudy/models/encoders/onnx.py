"""Encoders of images that are given as ONNX files: they are run, and nothing of them is learned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.errors import ConfigError
from quickstudy.models.encoders.onnx_file import onnx_checksum
from quickstudy.models.encoders.onnx_session import Session, embedded, encode, session
from quickstudy.models.encoders.pixels import IMAGENET_MEAN, IMAGENET_STD, Pixels, Side, Triple, pixels
from quickstudy.models.head import with_head
from quickstudy.registry import models
from quickstudy.spec import TaskSpec
from quickstudy.traced import traced

_RESOLUTION = 224  # where the file leaves it open


def _side(file: str, opened: Session) -> tuple[int, bool]:
    """The side of images in pixels, 0 where it is left open, and whether channels are their last axis."""
    shape = opened.shape
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise ConfigError(
            f"{file} is no encoder of images: it must have one input (n, 3, height, width) or (n, height, width, 3) of "
            f"floating-point numbers, found {opened.inputs}. Export it so."
        )
    last = shape[1] != 3
    height, width = (opened.fixed(axis) for axis in ((1, 2) if last else (2, 3)))
    if height and width and height != width:
        raise ConfigError(
            f"{file} takes images of {height} x {width} pixels, and images here are square. Export it so."
        )
    return height, last


class OnnxEncoder(nn.Module):
    """The network of an ONNX file, frozen: images (n, C, H, W) to (n, features), by onnxruntime on the CPU.

    It has no parameters, and no gradient goes through it. Copies and pickles name the file, by its checksum, and open
    it where they are used; any number of threads may call it. last: channels are the last axis of what it takes.
    """

    def __init__(self, pixels: Pixels, file: str, checksum: str, output: str, last: bool) -> None:
        super().__init__()
        self.pixels, self.file, self.checksum, self.output, self.last = pixels, file, checksum, output, last
        nothing = self._turned(torch.zeros(1, 3, pixels.resolution, pixels.resolution))
        try:
            self.features = embedded(nothing, file, checksum, output).shape[1]
        except Exception as error:  # onnxruntime's errors have no base class of their own
            raise ConfigError(
                f"{file} cannot encode images of {pixels.resolution} x {pixels.resolution} pixels "
                f"({str(error)[:200]}). Choose another resolution (--model.resolution)."
            ) from error

    def _turned(self, images: Tensor) -> Tensor:
        return images.permute(0, 2, 3, 1) if self.last else images

    def forward(self, x: Tensor) -> Tensor:
        if traced(x):
            return self._embedded(x)
        # What the network is shown of small images takes far more than they do.
        few = session(self.file, self.checksum).at_once(3 * self.pixels.resolution**2)
        return torch.cat([self._embedded(part) for part in torch.split(x, few)])

    def _embedded(self, x: Tensor) -> Tensor:
        return encode(self._turned(self.pixels(x)), self.file, self.checksum, self.output, self.features)


def _settled(**options: Any) -> dict[str, Any]:
    return options | {"checksum": options["checksum"] or onnx_checksum(options["file"])}


@models.register("onnx", axes=3, settle=_settled)
def onnx(
    spec: TaskSpec,
    head: bool = True,
    *,
    file: str,
    resolution: Side | None = None,
    mean: Triple = IMAGENET_MEAN,
    std: Triple = IMAGENET_STD,
    white: float | None = None,
    output: str = "",
    checksum: str = "",
) -> nn.Module:
    """An encoder of images from an ONNX file, run as it is by onnxruntime: nothing of it is learned.

    With `head` a linear layer gives `spec.outputs` numbers, and is all that is learned. Weights stay in the file, which
    a run names but does not hold. Needs the extra 'onnx'.

    file: its path.
    resolution: the side that images are brought to, in pixels; if not given what the file says, or 224.
    mean, std: of red, green and blue, where white is 1; images are given less the mean, in units of the deviation.
    white: what white is in images whose format does not say: 1 or 255.
    output: the name of the output to take, where the file has several; its numbers are flattened.
    checksum: of the file, which is refused if it is another; filled in where a run begins.
    """
    checksum = checksum or onnx_checksum(file)
    opened = session(file, checksum)
    side, last = _side(file, opened)
    if side and resolution not in (None, side):
        raise ConfigError(
            f"{file} takes images of {side} x {side} pixels, and no others: leave resolution={resolution} out."
        )
    seen = pixels(spec, "onnx", resolution or side or _RESOLUTION, mean, std, white)
    encoder = OnnxEncoder(seen, file, checksum, opened.output(file, output), last)
    return with_head(encoder, encoder.features, spec) if head else encoder
