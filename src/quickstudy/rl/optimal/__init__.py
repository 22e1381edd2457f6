"""What the best agent would get, where that can be computed."""

from quickstudy.rl.optimal.bandits import bernoulli_optimal
from quickstudy.rl.optimal.gridworld import belief_optimal

__all__ = ["belief_optimal", "bernoulli_optimal"]
