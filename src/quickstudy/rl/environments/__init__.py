"""Families of tasks that agents can act in, one a file."""

from quickstudy.rl.environments.arcade import Arcade
from quickstudy.rl.environments.bandits import Bandit
from quickstudy.rl.environments.driver import idm_driver
from quickstudy.rl.environments.gridworld import GridWorld
from quickstudy.rl.environments.highway import Highway
from quickstudy.rl.environments.mdp import TabularMDP
from quickstudy.rl.environments.point import PointRobot

__all__ = ["Arcade", "Bandit", "GridWorld", "Highway", "PointRobot", "TabularMDP", "idm_driver"]
