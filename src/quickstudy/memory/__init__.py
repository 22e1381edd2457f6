"""A memory of tasks: every solved task is kept with a description, and the next one starts from the nearest.

The learner that starts from memories is `quickstudy.learners.memory`; `Bank` stores them, and `Memory` is the loop.
"""

from quickstudy.memory.bank import Bank
from quickstudy.memory.codec import Codec
from quickstudy.memory.entry import Entry
from quickstudy.memory.memory import Keep, Memory
from quickstudy.memory.metric import learn_metric
from quickstudy.memory.solved import Solved, Start

__all__ = ["Bank", "Codec", "Entry", "Keep", "Memory", "Solved", "Start", "learn_metric"]
