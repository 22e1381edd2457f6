"""Models made by averaging others: θ = (1/M) Σ θ_m.

Means, soups, differences and moving averages take and return flat mappings of tensors: φ, or a `state_dict`. Partition
training makes the models to average: copies of one network that are trained apart on parts of the data.
"""

from quickstudy.averaging.check import Verdict, no_worse, verdict
from quickstudy.averaging.episodic import Episodic
from quickstudy.averaging.means import (
    Models,
    finite,
    fisher_mean,
    mean,
    moving_average,
    strangers,
    task_arithmetic,
)
from quickstudy.averaging.members import Member, Supervised
from quickstudy.averaging.parts import How, split
from quickstudy.averaging.rounds import Round, Trained, train_parts
from quickstudy.averaging.soup import Interpolation, Soup, greedy_soup, interpolation, recalibrated

__all__ = [
    "Episodic",
    "How",
    "Interpolation",
    "Member",
    "Models",
    "Round",
    "Soup",
    "Supervised",
    "Trained",
    "Verdict",
    "finite",
    "fisher_mean",
    "greedy_soup",
    "interpolation",
    "mean",
    "moving_average",
    "no_worse",
    "recalibrated",
    "split",
    "strangers",
    "task_arithmetic",
    "train_parts",
    "verdict",
]
