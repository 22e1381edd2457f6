"""Search of architectures and settings: the point of a space to try next, learned from trials here and on other tasks.

import quickstudy as qs
space = qs.search.cell_space()
search = qs.search.Search(space, "predicted", describe=qs.search.counts)
point = search.ask()
search.tell(point, accuracy)
search.best()
"""

from __future__ import annotations

from quickstudy.search.base import Known, Pool, Search, Strategy, Trials
from quickstudy.search.cells import (
    canonical,
    cell_of,
    cell_space,
    counts,
    full,
    pairs,
    path_encoding,
    point_of,
    shortened_paths,
    text_of,
)
from quickstudy.search.experience import Experience, Experienced
from quickstudy.search.gaussian import Kernel
from quickstudy.search.latency import Devices, Latency
from quickstudy.search.limits import Found, Plan, search_within
from quickstudy.search.pareto import front, reward
from quickstudy.search.predicted import Predicted
from quickstudy.search.simple import Evolution, Random

__all__ = [
    "Devices",
    "Evolution",
    "Experience",
    "Experienced",
    "Found",
    "Kernel",
    "Known",
    "Latency",
    "Plan",
    "Pool",
    "Predicted",
    "Random",
    "Search",
    "Strategy",
    "Trials",
    "canonical",
    "cell_of",
    "cell_space",
    "counts",
    "front",
    "full",
    "pairs",
    "path_encoding",
    "point_of",
    "reward",
    "search_within",
    "shortened_paths",
    "text_of",
]
