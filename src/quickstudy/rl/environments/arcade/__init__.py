"""Small games with dynamics of their own, one a file."""

from quickstudy.rl.environments.arcade.family import GAMES, Arcade
from quickstudy.rl.environments.arcade.revealed import Revealed, oracle_stage

__all__ = ["GAMES", "Arcade", "Revealed", "oracle_stage"]
