"""Update rules of the inner loop, and the partition of parameters they move."""

from quickstudy.inner.learned import LearnedRule, MLPRule
from quickstudy.inner.partition import EVERYTHING, Partition
from quickstudy.inner.recurrent import LSTMRule, MetaLSTM
from quickstudy.inner.rules import SGD, Adam, Momentum, Rates, Rule

RULES: dict[str, type[Rule]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "adam": Adam,
    "lstm": LSTMRule,
    "mlp": MLPRule,
    "meta-lstm": MetaLSTM,
}

__all__ = [
    "EVERYTHING",
    "RULES",
    "SGD",
    "Adam",
    "LSTMRule",
    "LearnedRule",
    "MLPRule",
    "MetaLSTM",
    "Momentum",
    "Partition",
    "Rates",
    "Rule",
]
