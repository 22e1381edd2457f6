"""A transformer over the cells of a table: attention along rows and along columns in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from quickstudy.episode import Features, State
from quickstudy.formats.base import Format
from quickstudy.formats.passing import arguments
from quickstudy.models.readers.attention import Attention
from quickstudy.models.readers.base import Learned, Reader, at_least_one, perceptron, shape_of
from quickstudy.models.readers.hints import Hints

_CERTAIN = 6.0  # by which the mean of all hints of a class goes into its logit at first
_REGISTERS = 2  # rows that are always there, so that an empty support set can be read too
_MOST = 1 << 25  # numbers that attention holds at once where nothing is learned; of more, rows are read in chunks


class AxialLayer(nn.Module):
    """Attention among the cells of a row, attention along each column over the support rows, and a perceptron: each
    added to what comes in, normalised before (pre-norm). h (m, C + 1, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before_row, self.row = nn.LayerNorm(width), Attention(width, heads)
        self.before_column, self.column = nn.LayerNorm(width), Attention(width, heads)
        self.between, self.perceptron = nn.LayerNorm(width), perceptron(width, 2 * width, width)

    def along_row(self, h: Tensor, there: Tensor) -> Tensor:
        """there: (C + 1,) bool, which columns count."""
        cells = self.before_row(h)
        out: Tensor = h + self.row(cells, *self.row.keep(cells), there)
        return out

    def keep(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (C + 1, heads, m, width / heads) of support rows."""
        kept: tuple[Tensor, Tensor] = self.column.keep(self.before_column(h).transpose(0, 1))
        return kept

    def along_column(self, h: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        cells = self.before_column(h).transpose(0, 1)
        h = h + self.column(cells, keys, values, mask).transpose(0, 1)
        out: Tensor = h + self.perceptron(self.between(h))
        return out


class Axial(Reader):
    """Every cell is a token, and so is every label; queries have a token that asks for theirs (Hollmann et al. 2025).

    Attention along rows and along columns in turn (axial attention, Ho et al. 2019). No query sees another. The order
    of rows and of columns makes no difference, but for rounding, and there may be any number of both. Columns that do
    not vary over the support set are not looked at.

    State: keys and values of every layer, 'keys.<i>' and 'values.<i>' (C + 1, heads, R + n, width / heads), 'mask' of
    the rows and 'there' of the columns; with hints what `Hints` keeps.
    """

    def __init__(
        self, encoder: nn.Module, format: Format, inputs: int, outputs: int, *,
        width: int = 64, layers: int = 4, heads: int = 4, classes: bool = True, hints: bool = False,
    ) -> None:  # fmt: skip
        """encoder: to cells (n, C, D), or to (n, C), cells of one number. hints: see `RidgeHints`, `KernelHints`."""
        super().__init__(encoder, inputs, outputs)
        at_least_one(width=width, layers=layers, heads=heads)
        shape = shape_of(encoder, format)
        self.cell = nn.Linear(shape[1] if len(shape) == 2 else 1, width)
        self.label, self.asking = nn.Linear(inputs, width), Learned(width)
        self.registers = Learned(_REGISTERS, 2, width)  # of cells, and of labels
        self.layers = nn.ModuleList(AxialLayer(width, heads) for _ in range(layers))
        self.after, self.head = nn.LayerNorm(width), nn.Linear(width, outputs)
        self.hints = Hints(inputs, outputs, width, _CERTAIN if classes else 1.0) if hints else None

    def embed(self, x: Features) -> Tensor:
        given, named = arguments(self.encoder, x)
        z: Tensor = self.encoder(*given, **named)
        return z[:, :, None] if z.dim() == 2 else z

    def _each(self) -> Iterator[AxialLayer]:
        return (cast(AxialLayer, layer) for layer in self.layers)

    def read(self, z: Tensor, y: Tensor, mask: Tensor) -> State:
        varies = _vary(z, mask)
        told, state = self.label(y), cast(State, {"varies": varies})
        if self.hints is not None:
            hinted, kept = self.hints.fit(_varying(z, varies), y, mask)
            told, state = told + hinted, state | kept
        registers = self.registers().to(told.dtype)
        cells = torch.cat([registers[:, :1].expand(-1, z.shape[1], -1), self.cell(z)])
        h = torch.cat([cells, torch.cat([registers[:, 1], told])[:, None]], dim=1)
        seen = torch.cat([mask.new_ones(_REGISTERS), mask])
        state["mask"], there = seen, _with_label(varies)
        for index, layer in enumerate(self._each()):
            h = self._in_chunks(partial(layer.along_row, there=there), h, len(there))
            keys, values = layer.keep(h)
            state |= {f"keys.{index}": keys, f"values.{index}": values}
            column = partial(layer.along_column, keys=keys, values=values, mask=seen)
            h = self._in_chunks(column, h, len(seen))
        return state

    def answer(self, state: State, z: Tensor) -> Tensor:
        return self._in_chunks(partial(self._answer, state), z, max(len(state["mask"]), z.shape[1] + 1))

    def _answer(self, state: State, z: Tensor) -> Tensor:
        """(m, outputs) for cells z (m, C, D)."""
        asking, start = self.asking().expand(z.shape[0], -1), z.new_zeros(())
        if self.hints is not None:
            hinted, start = self.hints(state, _varying(z, state["varies"]))
            asking = asking + hinted
        there, cells = _with_label(state["varies"]), self.cell(z)
        h = torch.cat([cells, asking.to(cells.dtype)[:, None]], dim=1)
        for index, layer in enumerate(self._each()):
            h = layer.along_row(h, there)
            h = layer.along_column(h, state[f"keys.{index}"], state[f"values.{index}"], state["mask"])
        out: Tensor = self.head(self.after(h[:, -1])) + start
        return out

    def _in_chunks(self, part: Callable[[Tensor], Tensor], rows: Tensor, looked_at: int) -> Tensor:
        """part(rows), for some rows at a time where it would hold too much; looked_at: by each cell."""
        each = (rows.shape[1] + 1) * looked_at * self.heads
        size = max(1, _MOST // max(each, 1))
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or len(rows) <= size:
            return part(rows)
        return torch.cat([part(some) for some in torch.split(rows, size)])

    @property
    def heads(self) -> int:
        return next(self._each()).row.heads


def _vary(z: Tensor, mask: Tensor) -> Tensor:
    """(C,) bool: which columns of z (n, C, D) vary over the rows of `mask` (n,)."""
    known = mask[:, None, None]
    high = torch.where(known, z, -torch.inf).amax(0) if len(z) else z.new_zeros(z.shape[1:])
    low = torch.where(known, z, torch.inf).amin(0) if len(z) else z.new_zeros(z.shape[1:])
    return (high > low).any(1)


def _with_label(varies: Tensor) -> Tensor:
    """Which columns count, the label's being the last."""
    return torch.cat([varies, varies.new_ones(1)])


def _varying(z: Tensor, varies: Tensor) -> Tensor:
    """The cells (n, C, D) of each row, zeros where they do not count."""
    return torch.where(varies[:, None], z, 0.0)
