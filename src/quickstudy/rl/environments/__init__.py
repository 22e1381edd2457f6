"""Families of tasks that agents can act in, one a file."""

from quickstudy.rl.environment import Environment, Step
from quickstudy.rl.environments.bandits import Bandit

__all__ = ["Bandit", "Environment", "Step"]
