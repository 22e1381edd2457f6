"""Families of tasks that agents can act in, one a file."""

from quickstudy.rl.environments.bandits import Bandit
from quickstudy.rl.environments.gridworld import GridWorld
from quickstudy.rl.environments.mdp import TabularMDP
from quickstudy.rl.environments.point import PointRobot

__all__ = ["Bandit", "GridWorld", "PointRobot", "TabularMDP"]
