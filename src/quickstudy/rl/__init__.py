"""Meta-reinforcement learning: tasks are environments, and what an agent collects in them is the support set."""

from quickstudy.rl.agents import gradient, proximal, recurrent
from quickstudy.rl.environment import Environment, Step
from quickstudy.rl.environments import Arcade, Bandit, GridWorld, Highway, PointRobot, TabularMDP
from quickstudy.rl.fixed import only
from quickstudy.rl.gym import GymEnvironment
from quickstudy.rl.source import EnvironmentSource

__all__ = [
    "Arcade",
    "Bandit",
    "Environment",
    "EnvironmentSource",
    "GridWorld",
    "GymEnvironment",
    "Highway",
    "PointRobot",
    "Step",
    "TabularMDP",
    "gradient",
    "only",
    "proximal",
    "recurrent",
]
