"""Update rules of the inner loop, and the partition of parameters they move."""

from quickstudy.inner.partition import EVERYTHING, Partition
from quickstudy.inner.rules import SGD, Adam, Momentum, Rates, Rule

__all__ = ["EVERYTHING", "SGD", "Adam", "Momentum", "Partition", "Rates", "Rule"]
