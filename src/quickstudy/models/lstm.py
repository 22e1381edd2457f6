"""A recurrent network that reads a sequence."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from quickstudy.errors import ConfigError
from quickstudy.hints import Depth, Size
from quickstudy.models.head import check_axes, outputs_of
from quickstudy.registry import models
from quickstudy.spec import TaskSpec


class SequenceReader(nn.Module):
    """The last hidden state of an LSTM over x (n, length, channels), passed through a linear `head`: (n, *shape).

    outputs: of the head; None leaves the head out, and gives (n, width). shape: of one result. masked: the last channel
    is 1 where a step is known, 0 where it is padding; the state is held over padding, wherever it stands, and where
    nothing is known it is 0.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        depth: int,
        outputs: int | None,
        shape: tuple[int, ...] | None = None,
        masked: bool = True,
    ) -> None:
        super().__init__()
        self.masked, self.shape = masked, shape
        self.cells = nn.LSTM(channels - masked, width, depth, batch_first=True)
        self.head = nn.Identity() if outputs is None else nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        output = cast(Tensor, self.head(self._read(x)))
        return output if self.shape is None else output.reshape(-1, *self.shape)

    def _read(self, x: Tensor) -> Tensor:
        if not self.masked:
            return cast(Tensor, self.cells(x)[0][:, -1])
        values, known = x[..., :-1], x[..., -1] > 0.5
        # To hold the state over padding is to read the known steps alone: they go first, in their order.
        order = known.to(torch.int64).argsort(dim=1, descending=True, stable=True)
        hidden: Tensor = self.cells(values.gather(1, order[..., None].expand_as(values)))[0]
        count = known.sum(dim=1)
        at = (count - 1).clamp(min=0)[:, None, None].expand(-1, 1, hidden.shape[2])
        last = hidden.gather(1, at)[:, 0]
        return last * (count > 0)[:, None]


@models.register("lstm", axes=2)
def lstm(
    spec: TaskSpec, head: bool = True, *, width: Size = 40, depth: Depth = 1, masked: bool = True
) -> SequenceReader:
    """LSTM over sequences (length, channels), of `depth` layers of `width` units (Hochreiter & Schmidhuber 1997).

    With `head` it ends in `spec.outputs` numbers, without in `width` features.

    width: units of each layer. depth: layers. masked: the last channel is no value but says whether a step is known (1)
    or padding (0), so that sequences may be of different lengths.
    """
    check_axes(spec, "lstm", "sequences (length, channels)")
    channels = spec.input_shape[1]
    if masked and channels < 2:
        raise ConfigError(
            f"The model 'lstm' takes the last channel for the mask, but sequences of shape {spec.input_shape} have one "
            "channel only. Set masked=False (--model.no-masked), or add a channel that is 1 where a step is known."
        )
    shape = spec.target.prediction_shape if head else None
    return SequenceReader(channels, width, depth, outputs_of(spec) if head else None, shape, masked)
