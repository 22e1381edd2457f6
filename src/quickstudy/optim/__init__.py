"""Learned optimizers for any model: functions to train them on, the training, and `LearnedOptimizer` to use them."""

from quickstudy.optim.optimizer import LearnedOptimizer
from quickstudy.optim.problems import Classifiers, Problems, Quadratics, curves
from quickstudy.optim.training import ESTIMATORS, Going, HyperGradient, Unrolls, persistent, train_optimizer, truncated

__all__ = [
    "ESTIMATORS",
    "Classifiers",
    "Going",
    "HyperGradient",
    "LearnedOptimizer",
    "Problems",
    "Quadratics",
    "Unrolls",
    "curves",
    "persistent",
    "train_optimizer",
    "truncated",
]
