"""The rules that games of the arcade are played by, and which of them are held out."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import permutations

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import State
from quickstudy.errors import unknown_name
from quickstudy.rl.environments.arcade.board import DOWN, FIGURE, LEFT, ONE, OTHER, REST, RIGHT, STILL, UP

PERIODS, STICKY, PAYS = (1, 2, 3), (0.0, 0.1, 0.25), (ONE, OTHER)
_TURNED = (LEFT, RIGHT, UP, DOWN), (UP, DOWN, RIGHT, LEFT), (RIGHT, LEFT, DOWN, UP), (DOWN, UP, LEFT, RIGHT)
_CONTROLS = tuple((STILL, *move) for a, b, c, d in _TURNED for move in ((a, b, c, d), (b, a, c, d)))
_COLOURS = tuple(
    (figure, one, other, rest)
    for figure, rest in permutations((FIGURE, REST))
    for one, other in permutations((ONE, OTHER))
)  # fmt: skip
_TABLES = {"period": PERIODS, "sticky": STICKY, "pays": PAYS, "controls": _CONTROLS, "colours": _COLOURS}
SWAPPED = "pays", "controls", "colours"
"""The rules of which the first in its table is the plain one: without knowing them, all that is done comes to 0."""
RULES = math.prod(map(len, _TABLES.values()))
"""How many combinations of rules a game has."""
_SPLITS = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}


@lru_cache(64)
def combinations(split: str, games: tuple[int, ...]) -> Tensor:
    """The combinations of a game and its rules that are of a split: numbers, game · RULES + rules, in rising order.

    Which split one is of is a pure function of its number, by a hash: 60% are for training, 20% for validation and 20%
    for tests. A rule that is held out is hence a combination that does not occur in training, of parts that do.
    """
    if split not in _SPLITS:
        raise unknown_name("split", split, _SPLITS)
    codes = torch.cat([game * RULES + torch.arange(RULES) for game in games])
    place, (low, high) = rng.uniform(rng.fold(rng.key(0, "arcade"), codes)), _SPLITS[split]
    return codes[(place >= low) & (place < high)]


@lru_cache(64)
def plain(games: tuple[int, ...], which: tuple[str, ...]) -> Tensor:
    """The combinations that are for training in which the rules named in `which` are plain."""
    codes = combinations("train", games)
    said = rules(codes)
    kept = torch.ones_like(codes, dtype=torch.bool)
    for name in which:
        kept &= (said[name] == torch.tensor(_TABLES[name][0])).view(len(codes), -1).all(1)
    return codes[kept]


def rules(codes: Tensor) -> State:
    """What combinations (n,) say. game: (n,) int64. period: in how many steps things move once, (n,). sticky: the
    probability that the move before is made again, (n,). pays: the kind that does, (n,). controls: the move that each
    action makes, (n, 5), directions turned or mirrored. colours: the plane that each kind is shown in, (n, 4)."""
    said = {"game": codes // RULES}
    left = codes % RULES
    for name, table in _TABLES.items():
        said[name] = torch.tensor(table, device=codes.device)[left % len(table)]
        left = left // len(table)
    return said
