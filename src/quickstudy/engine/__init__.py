"""How a learner runs: over tasks by vmap or by a loop, eager or compiled, on which device."""

from quickstudy.engine.core import Engine
from quickstudy.engine.device import resolve_device
from quickstudy.engine.plan import Plan
from quickstudy.engine.precision import Precision, place
from quickstudy.engine.process import keep_freed_memory, trains_on
from quickstudy.engine.tune import Compile, Tuner
from quickstudy.engine.vectorize import Vectorize

__all__ = [
    "Compile",
    "Engine",
    "Plan",
    "Precision",
    "Tuner",
    "Vectorize",
    "keep_freed_memory",
    "place",
    "resolve_device",
    "trains_on",
]
