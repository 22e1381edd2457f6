"""One way of computing a meta-gradient. All plans give the same numbers but for rounding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from quickstudy.learners.descent import Order

Compiled = Literal["no", "whole", "parts"]


@dataclass(frozen=True)
class Plan:
    """How a batch of tasks is run.

    vectorize: all tasks at once ('vmap') or one after another ('loop'). workers: threads that share the tasks of a
    loop, each with one core. compiled: 'no', the 'whole' meta-gradient as one graph, or the 'parts' that the estimator
    names (one inner step and its pullback), whose compile time does not grow with the number of steps. order: of
    second derivatives, where the estimator offers both. cores: that an operation is spread over, 0 for all that PyTorch
    uses; where operations are small, spreading them costs more than it saves.
    """

    vectorize: Literal["vmap", "loop"]
    compiled: Compiled = "no"
    workers: int = 1
    order: Order = "reverse"
    cores: int = 0

    def __str__(self) -> str:
        how = "vmap" if self.vectorize == "vmap" else "one task after another"
        how = f"tasks on {self.workers} threads" if self.workers > 1 else how
        compiled = {"no": "", "whole": ", compiled", "parts": ", step by step compiled"}[self.compiled]
        compiled += f", on {self.cores} core{'s' if self.cores > 1 else ''}" if self.cores else ""
        return how + compiled + (", forward over reverse" if self.order == "forward" else "")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        return cls(**data)
