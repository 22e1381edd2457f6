"""Search of architectures: cells as a space and what can be counted in them, and latencies of devices.

import quickstudy as qs
space = qs.search.cell_space().described(qs.search.counts)
search = qs.select.warm.Search(space, strategy="predicted")
point = search.propose()
search.tell(point, 1 - accuracy)
search.best
"""

from __future__ import annotations

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
from quickstudy.search.latency import Devices, Latency
from quickstudy.search.limits import Found, Plan, search_within
from quickstudy.search.proxies import codes, flow, proxies
from quickstudy.select.pareto import front, reward

__all__ = [
    "Devices",
    "Found",
    "Latency",
    "Plan",
    "canonical",
    "cell_of",
    "cell_space",
    "codes",
    "counts",
    "flow",
    "front",
    "full",
    "pairs",
    "path_encoding",
    "point_of",
    "proxies",
    "reward",
    "search_within",
    "shortened_paths",
    "text_of",
]
