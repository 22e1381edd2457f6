"""Meta-reinforcement learning: tasks are environments, and what an agent collects in them is the support set."""

from quickstudy.rl.agents import gradient, recurrent
from quickstudy.rl.environment import Environment, Step
from quickstudy.rl.environments import Arcade, Bandit, GridWorld, Highway, PointRobot, TabularMDP
from quickstudy.rl.source import EnvironmentSource

__all__ = [
    "Arcade",
    "Bandit",
    "Environment",
    "EnvironmentSource",
    "GridWorld",
    "Highway",
    "PointRobot",
    "Step",
    "TabularMDP",
    "gradient",
    "recurrent",
]
