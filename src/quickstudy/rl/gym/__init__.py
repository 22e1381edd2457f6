"""Environments of Gymnasium as tasks."""

from quickstudy.rl.gym.adapter import GymEnvironment
from quickstudy.rl.gym.source import gym
from quickstudy.simulators.families import FAMILIES, Family

__all__ = ["FAMILIES", "Family", "GymEnvironment", "gym"]
