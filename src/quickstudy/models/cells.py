"""The cells of tables with columns of several kinds, as numbers that a network can compare."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quickstudy import rng
from quickstudy.errors import ConfigError
from quickstudy.hints import Depth, Size
from quickstudy.models.head import outputs_of
from quickstudy.registry import models
from quickstudy.spec import TaskSpec

_CODES, _SIZE = 64, 8


class Cells(nn.Module):
    """(n, C, 3), cells as the format `table` has them, or (n, C), numbers, to (n, C, 12).

    The value, bounded; its logarithm with its sign; whether it is missing; whether it is a category; and a random code
    of its category, the same in all columns: categories differ, but none is more than another. From the 65th category
    on codes come again.
    """

    codes: Tensor
    count = 4 + _SIZE

    def __init__(self) -> None:
        super().__init__()
        codes = rng.normal(rng.key(0, "codes of categories"), (_CODES, _SIZE)) / _SIZE**0.5
        self.register_buffer("codes", codes)

    def forward(self, x: Tensor) -> Tensor:
        value, gap, code = (x, torch.zeros_like(x), torch.zeros_like(x)) if x.dim() == 2 else x.unbind(-1)
        category = (code > 0).to(x.dtype)
        told = self.codes[(code.clamp(min=1) - 1).long() % _CODES] * category[..., None]
        plain = torch.stack([value.clamp(-5, 5), value.sign() * value.abs().log1p(), gap, category], dim=-1)
        return torch.cat([plain, told.to(x.dtype)], dim=-1)


@models.register("cells", axes=2, narrower=True, wider=True)
def cells(spec: TaskSpec, head: bool = True, *, width: Size = 64, depth: Depth = 0) -> nn.Sequential:
    """The cells of tables, numbers and others, each as numbers that can be compared, without weights of its own.

    For learners that read cell by cell, which then take tables of any number of columns. With hidden layers, or a
    `head`, it is a perceptron on all cells of a row, for tables of the columns that it was trained on.

    width, depth: units, and number, of hidden layers.
    """
    if len(spec.input_shape) not in (1, 2):
        raise ConfigError(
            f"The model 'cells' takes rows of a table (columns,) or (columns, 3), but these are {spec.format}. Choose "
            "another model."
        )
    layers: list[nn.Module] = [Cells()]
    size = spec.input_shape[0] * Cells.count
    if depth or head:
        layers.append(nn.Flatten())
    for _ in range(depth):
        layers += [nn.Linear(size, width), nn.ReLU()]
        size = width
    if head:
        layers.append(nn.Linear(size, outputs_of(spec)))
    return nn.Sequential(*layers)
