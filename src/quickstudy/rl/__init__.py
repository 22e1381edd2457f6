"""Meta-reinforcement learning: tasks are environments, and what an agent collects in them is the support set."""

from quickstudy.rl.agents import recurrent
from quickstudy.rl.environments import Bandit, Environment, Step
from quickstudy.rl.gym import GymEnvironment
from quickstudy.rl.source import EnvironmentSource

__all__ = ["Bandit", "Environment", "EnvironmentSource", "GymEnvironment", "Step", "recurrent"]
