"""A tree of classes: tasks whose classes are all below one of its nodes, so that they are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.errors import DataError, first_of
from quickstudy.storage.json import read_json

_REMEDY = "Write names of classes in lists, and lists in objects by the names of their nodes."
_NODE, _CLASSES = range(2)


@dataclass(frozen=True)
class Tree:
    """below: (M, C) bool, which of the C classes of a pool are below each inner node.

    A task draws one of the nodes that have enough classes of its split, all alike, and its classes among these (as
    Meta-Dataset does with ImageNet, Triantafillou et al. 2020).
    """

    below: Tensor

    def to(self, device: torch.device | str) -> Tree:
        return replace(self, below=self.below.to(device))

    def fitting(self, ids: Tensor, least: int) -> Tensor:
        """Of the nodes that have `least` of the classes `ids` (C',) at least, which of them: (M', C') bool."""
        own = self.below[:, ids]
        return own[own.sum(1) >= least]

    def draw(self, keys: Tensor, ids: Tensor, least: int, ways: int) -> tuple[Tensor, Tensor]:
        """Classes (T, N) by keys (T,), and how many the node of each task has (T,); the first again where too few."""
        nodes = self.fitting(ids, least)
        node = nodes[rng.integers(rng.fold(keys, _NODE), len(nodes))]
        place = torch.where(node, rng.bits(rng.fold(keys, _CLASSES), (len(ids),)), -1)
        chosen = place.topk(min(ways, len(ids)), dim=1)
        drawn = torch.where(chosen.values >= 0, chosen.indices, chosen.indices[:, :1])
        drawn = torch.cat([drawn, drawn[:, :1].expand(-1, ways - drawn.shape[1])], dim=1)
        return ids[drawn], node.sum(1)


def read_tree(path: str | Path, names: Sequence[str]) -> Tree:
    """The tree in a JSON file, such as {"animals": {"dogs": ["poodle", "beagle"], "cats": ["manx"]}, …}.

    names: of all classes, by id; each must stand in the tree. DataError for others, and for names it does not know.
    """
    if not Path(path).is_file():
        raise DataError(f"There is no file {path} with a tree of classes. Check the path.")
    said: dict[str, Any] = read_json(Path(path), dict[str, Any], _REMEDY)
    number = {name: i for i, name in enumerate(names)}
    nodes: list[list[str]] = []
    every = _leaves(said, nodes, str(path))
    strange, missing = sorted(set(every) - set(names)), sorted(set(names) - set(every))
    if strange or missing:
        wrong = f"names classes that there are not: {first_of(strange)}" if strange else (
            f"lacks {len(missing)} classes: {first_of(missing)}"
        )  # fmt: skip
        raise DataError(f"The tree {path} {wrong}. Correct it: every class is below some node.")
    below = torch.zeros((len(nodes), len(names)), dtype=torch.bool)
    for row, leaves in enumerate(nodes):
        below[row, [number[leaf] for leaf in leaves]] = True
    return Tree(below)


def _leaves(node: Any, nodes: list[list[str]], path: str) -> list[str]:
    """The classes below a node; it, and all nodes below it, are added to `nodes`."""
    if isinstance(node, list) and all(isinstance(leaf, str) for leaf in node):
        found = list(node)
    elif isinstance(node, dict):
        found = [leaf for child in node.values() for leaf in _leaves(child, nodes, path)]
    else:
        raise DataError(f"The tree {path} holds {node!r:.40} where a list of classes or an object is meant. {_REMEDY}")
    nodes.append(found)
    return found
