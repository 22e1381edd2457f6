"""The rows of tables with any number of columns, up to a limit."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.errors import ModelError
from quickstudy.models.head import check_axes, outputs_of
from quickstudy.registry import models
from quickstudy.spec import TaskSpec


class Columns(nn.Module):
    """(n, C) with C ≤ `limit` columns to (n, 2 · limit): each number bounded, and its logarithm with its sign.

    The columns that a table lacks are 0, as are those that do not vary.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        if x.shape[1] > self.limit:
            raise ModelError(
                f"These tables have {x.shape[1]} columns, but the network was built for at most {self.limit}. Choose "
                f"the {self.limit} that matter most, or train on tables of as many columns."
            )
        x = F.pad(x, (0, self.limit - x.shape[1]))
        return torch.cat([x.clamp(-5, 5), x.sign() * x.abs().log1p()], dim=1)


@models.register("columns", axes=1, narrower=True)
def columns(spec: TaskSpec, head: bool = True) -> nn.Sequential:
    """Rows of a table as they are, for learners that read; tables may have fewer columns than those of training.

    With `head` a linear layer gives `spec.outputs` numbers.
    """
    check_axes(spec, "columns", "rows of a table (columns,)")
    most = spec.input_shape[0]
    layers: list[nn.Module] = [Columns(most)]
    if head:
        layers.append(nn.Linear(2 * most, outputs_of(spec)))
    return nn.Sequential(*layers)
