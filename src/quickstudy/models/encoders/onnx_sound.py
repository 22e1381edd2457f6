"""Encoders of sound that are given as ONNX files: a spectrogram's file, and that of a network over windows of it."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from quickstudy.errors import ConfigError
from quickstudy.hints import Count
from quickstudy.models.encoders.onnx_file import onnx_checksum
from quickstudy.models.encoders.onnx_session import embedded, encode, session
from quickstudy.models.head import check_axes, with_head
from quickstudy.registry import models
from quickstudy.spec import TaskSpec

Pool = Literal["mean", "max", "both"]


class OnnxSound(nn.Module):
    """Samples (n, S) in [-1, 1] to (n, features), by one or two ONNX files, frozen, on the CPU.

    The first makes frames of bands of `scale` times the samples, of each recording by itself; `gain` times a band plus
    `offset` goes, in windows of as many frames as the second takes, one every `step` frames, to the second; its
    embeddings are pooled over the windows. Without a first file the second takes the samples.
    """

    scale: Tensor
    gain: Tensor
    offset: Tensor

    def __init__(
        self,
        size: int,
        spectrogram: tuple[str, str, str],
        network: tuple[str, str, str],
        scale: float,
        gain: float,
        offset: float,
        step: int,
        pool: Pool,
    ) -> None:
        super().__init__()
        self.spectrogram, self.network = spectrogram, network  # file, checksum and output of each
        self.step, self.pool = step, pool
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("gain", torch.tensor(gain))
        self.register_buffer("offset", torch.tensor(offset))
        self.shape: tuple[int, ...] = ()
        self.heard = 0
        nothing = torch.zeros(1, size)
        if spectrogram[0]:
            self.shape = _window(network[0], network[1])
            self.heard = _tried(nothing, *spectrogram)
            bands = max(self.shape[1:])
            frames = self.heard // bands
            if self.heard % bands or frames < self.shape[0]:
                raise ConfigError(
                    f"{spectrogram[0]} makes {self.heard} numbers of {size} samples, and {network[0]} takes windows of "
                    f"{self.shape[0]} frames of {bands} bands. Give longer recordings (--tasks.seconds), or files that "
                    "belong together."
                )
            nothing = torch.zeros(1, *self.shape)
        self.embedding = _tried(nothing, *network)
        self.features = self.embedding * (2 if pool == "both" and self.shape else 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.scale
        if not self.shape:
            return encode(x, *self.network, self.embedding)
        bands = encode(x, *self.spectrogram, self.heard, alone=True) * self.gain + self.offset
        frames = bands.reshape(len(bands), -1, max(self.shape[1:]))
        windows = frames.unfold(1, self.shape[0], self.step).transpose(2, 3)
        z = encode(windows.reshape(-1, *self.shape), *self.network, self.embedding)
        z = z.reshape(*windows.shape[:2], self.embedding)
        parts = {"mean": (z.mean(1),), "max": (z.amax(1),), "both": (z.mean(1), z.amax(1))}[self.pool]
        return torch.cat(parts, dim=1)


def _window(file: str, checksum: str) -> tuple[int, ...]:
    """What a file takes of a spectrogram: frames, bands, and axes of size 1."""
    opened = session(file, checksum)
    shape = tuple(opened.fixed(axis) for axis in range(1, len(opened.shape)))
    if not shape or not all(shape) or sum(size > 1 for size in shape[1:]) != 1:
        raise ConfigError(
            f"{file} is no encoder of spectrograms: it must have one input (n, frames, bands) of fixed sizes, with "
            f"axes of size 1 beside them or none, found {opened.inputs}. Export it so."
        )
    return shape


def _tried(x: Tensor, file: str, checksum: str, output: str) -> int:
    """How many numbers a file makes of one example."""
    try:
        return embedded(x, file, checksum, output).shape[1]
    except Exception as error:  # onnxruntime's errors have no base class of their own
        raise ConfigError(
            f"{file} cannot encode an example of the shape {tuple(x.shape[1:])} ({str(error)[:200]}). Give recordings "
            "of the rate and length it was made for, or another file."
        ) from error


def _settled(**options: Any) -> dict[str, Any]:
    checksums = {
        name: options[name] or (onnx_checksum(options[of]) if options[of] else "")
        for name, of in (("checksum", "file"), ("spectrogram_checksum", "spectrogram"))
    }
    return options | checksums


@models.register("onnx_sound", axes=1, settle=_settled)
def onnx_sound(
    spec: TaskSpec,
    head: bool = True,
    *,
    file: str,
    spectrogram: str = "",
    scale: float = 1.0,
    gain: float = 1.0,
    offset: float = 0.0,
    step: Count = 8,
    pool: Pool = "mean",
    output: str = "",
    checksum: str = "",
    spectrogram_checksum: str = "",
) -> nn.Module:
    """An encoder of sound from ONNX files, run as it is by onnxruntime: nothing of it is learned.

    It takes samples: tasks with `mels=0`, of the rate that it was trained on. With `head` a linear layer gives
    `spec.outputs` numbers, and is all that is learned. Weights stay in the files, which a run names but does not hold.
    Needs the extra 'onnx'.

    file: of the network. It takes samples (n, samples), or windows of a spectrogram (n, frames, bands, …).
    spectrogram: the file that makes frames of bands of samples (n, samples), where there is one.
    scale: of the samples, which lie in [-1, 1]: 32768 for a file that takes them as 16-bit numbers have them.
    gain, offset: of the spectrogram, gain · x + offset, between the files.
    step: frames from one window to the next. pool: over windows, the 'mean', the largest value ('max'), or 'both'.
    output: the name of the network's output to take, where the file has several.
    checksum, spectrogram_checksum: of the files, which are refused if they are others; filled in where a run begins.
    """
    check_axes(spec, "onnx_sound", "samples (tasks with mels=0)")
    sums = _settled(file=file, spectrogram=spectrogram, checksum=checksum, spectrogram_checksum=spectrogram_checksum)
    network = (file, sums["checksum"], session(file, sums["checksum"]).output(file, output))
    first = ("", "", "")
    if spectrogram:
        opened = session(spectrogram, sums["spectrogram_checksum"])
        first = (spectrogram, sums["spectrogram_checksum"], opened.output(spectrogram, ""))
    encoder = OnnxSound(spec.input_shape[0], first, network, scale, gain, offset, step, pool)
    return with_head(encoder, encoder.features, spec) if head else encoder
