"""A small convolutional network that says something at every position of a spectrogram."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from quickstudy.errors import ConfigError
from quickstudy.hints import Size
from quickstudy.models.head import NormLayer, check_axes, make_norm
from quickstudy.registry import models
from quickstudy.spec import TaskSpec

_DILATIONS = (1, 2, 4)


class TimeBlock(nn.Module):
    """A convolution over time, 5 positions `dilation` apart, beside a shortcut: (n, C, 1, P) to the same."""

    def __init__(self, width: int, dilation: int, norm: NormLayer) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, (1, 5), padding=(0, 2 * dilation), dilation=(1, dilation), bias=False),
            make_norm(norm, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (x + self.body(x)).relu()
        return out


class EachPosition(nn.Module):
    """(n, C, 1, P) to (n, P, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.squeeze(2).transpose(1, 2)


class OverTime(nn.Module):
    """The mean over positions: (n, P, C) to (n, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


@models.register("transcriber", axes=3)
def transcriber(
    spec: TaskSpec, head: bool = True, *, width: Size = 96, blocks: Size = 5, norm_layer: NormLayer = "group"
) -> nn.Sequential:
    """Network for spectrograms (1, mels, frames) that says what is heard when: (positions, outputs of each).

    Two convolutions that halve the bands, and the frames where the target has fewer positions; then residual
    convolutions over time, which see some 20 positions to either side, and a linear layer at every position.

    width: filters. blocks: residual convolutions over time. norm_layer: what follows each convolution: BatchNorm,
    GroupNorm with at most 8 groups, or nothing.
    """
    check_axes(spec, "transcriber", "spectrograms (channels, mels, frames)")
    channels, mels, frames = spec.input_shape
    first, second, rest = _strides(frames, spec)
    bands = (((mels + 1) // 2) + 1) // 2
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        stem=nn.Sequential(
            nn.Conv2d(channels, max(8, width // 4), 5, stride=(2, first), padding=2, bias=False),
            make_norm(norm_layer, max(8, width // 4)),
            nn.ReLU(),
            nn.Conv2d(max(8, width // 4), max(8, width // 2), 3, stride=(2, second), padding=1, bias=False),
            make_norm(norm_layer, max(8, width // 2)),
            nn.ReLU(),
            nn.AvgPool2d((1, rest), ceil_mode=True) if rest > 1 else nn.Identity(),
            nn.Conv2d(max(8, width // 2), width, (bands, 1), bias=False),
            make_norm(norm_layer, width),
            nn.ReLU(),
        ),
        time=nn.Sequential(*(TimeBlock(width, _DILATIONS[i % len(_DILATIONS)], norm_layer) for i in range(blocks))),
        each=EachPosition(),
        head=nn.Linear(width, spec.target.prediction_shape[1]) if head else OverTime(),
    )
    return nn.Sequential(layers).train()


def _strides(frames: int, spec: TaskSpec) -> tuple[int, int, int]:
    """By how much the two convolutions and a pooling shorten the frames, so that the target's positions are left."""
    shape = spec.target.prediction_shape
    if len(shape) != 2:
        raise ConfigError(
            f"The model 'transcriber' says something at every position of a recording, but the target is {spec.target}."
            " Use --model speech, or tasks of transcripts."
        )
    by = round(frames / shape[0])
    if by < 1 or -(-frames // by) != shape[0]:
        fitting = sorted({-(-frames // one) for one in range(1, 9)}, reverse=True)
        raise ConfigError(
            f"The model 'transcriber' makes one position of every few of the {frames} frames, which never are "
            f"{shape[0]}. Choose positions among {', '.join(map(str, fitting))}."
        )
    if by % 4 == 0:
        return 2, 2, by // 4
    return (2, 1, by // 2) if by % 2 == 0 else (1, 1, by)
