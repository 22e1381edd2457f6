"""The rules that games of the arcade are played by, and which of them are held out."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import State
from quickstudy.errors import unknown_name
from quickstudy.rl.environments.arcade.board import DOWN, FIGURE, LEFT, ONE, OTHER, REST, RIGHT, STILL, UP

PERIODS, STICKY, PAYS = (1, 2, 3), (0.0, 0.1, 0.25), (ONE, OTHER)
_ACROSS, _ALONG = ((LEFT, RIGHT), (RIGHT, LEFT)), ((UP, DOWN), (DOWN, UP))
_CONTROLS = tuple((STILL, *across, *along) for across, along in product(_ACROSS, _ALONG))
_COLOURS = (FIGURE, ONE, OTHER, REST), (REST, ONE, OTHER, FIGURE)
_TABLES = {"period": PERIODS, "sticky": STICKY, "pays": PAYS, "controls": _CONTROLS, "colours": _COLOURS}
SWAPPED = "pays", "controls"
"""The rules by which all that is done without knowing them comes to 0. The first in its table is plain."""
RULES = math.prod(map(len, _TABLES.values()))
"""How many combinations of rules a game has."""
_SPLITS = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}


@lru_cache(64)
def combinations(split: str, games: tuple[int, ...]) -> Tensor:
    """The combinations of a game and its rules that are of a split: numbers, game · RULES + rules, in rising order.

    Which split one is in is a pure function of its number: of the combinations of a game that swap alike, in an order
    that a hash gives them, the first 60% are for training, the next 20% for validation and the rest for tests. A rule
    that is held out is hence a combination that does not occur in training, of parts that do, and in no split does one
    kind pay more often than the other, or one control lead more often to one side.
    """
    if split not in _SPLITS:
        raise unknown_name("split", split, _SPLITS)
    alike = _alike()
    low, high = (round(share * alike.shape[1]) for share in _SPLITS[split])
    held = []
    for game in games:
        codes = game * RULES + alike
        order = rng.uniform(rng.fold(rng.key(0, "arcade"), codes)).argsort(1)
        held.append(codes.gather(1, order[:, low:high]).flatten().sort().values)
    return torch.cat(held)


def _alike() -> Tensor:
    """The numbers of rules, those with the same `SWAPPED` in one row."""
    names = list(_TABLES)[::-1]  # numbers count the first table fastest
    numbers = torch.arange(RULES).view([len(_TABLES[name]) for name in names])
    rows = numbers.movedim([names.index(name) for name in SWAPPED], list(range(len(SWAPPED))))
    return rows.flatten(0, len(SWAPPED) - 1).flatten(1)


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
    action makes, (n, 5), opposite ones swapped or not. colours: the plane that each kind is shown in, (n, 4)."""
    said = {"game": codes // RULES}
    left = codes % RULES
    for name, table in _TABLES.items():
        said[name] = torch.tensor(table, device=codes.device)[left % len(table)]
        left = left // len(table)
    return said
