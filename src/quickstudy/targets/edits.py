"""How far one sequence of tokens is from another, and the words that characters spell."""

from __future__ import annotations

import torch
from torch import Tensor

_PRIME = 1_000_003  # of a polynomial hash modulo 2^64


def edits(found: Tensor, found_lengths: Tensor, wanted: Tensor, wanted_lengths: Tensor) -> Tensor:
    """Levenshtein's distance between sequences found (n, P) and wanted (n, L) of these lengths (n,): (n,) int64."""
    along = torch.arange(found.shape[1] + 1, device=found.device)
    row = along.expand(len(found), -1)
    for index in range(wanted.shape[1]):
        other = (found != wanted[:, index : index + 1]).long()
        step = torch.cat([row[:, :1] + 1, torch.minimum(row[:, 1:] + 1, row[:, :-1] + other)], dim=1)
        new = (step - along).cummin(1).values + along
        row = torch.where((index < wanted_lengths)[:, None], new, row)
    return row.gather(1, found_lengths[:, None])[:, 0]


def word_numbers(ids: Tensor, lengths: Tensor, space: int) -> tuple[Tensor, Tensor]:
    """Numbers (n, L) that are equal for equal words, in order, and how many there are, (n,)."""
    there = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
    letter = there & (ids != space)
    number = torch.zeros_like(lengths)
    numbers = []
    for index in range(ids.shape[1]):
        number = torch.where(letter[:, index], number * _PRIME + ids[:, index], 0)
        numbers.append(number)
    every = torch.stack(numbers, dim=1)
    ends = letter & ~torch.cat([letter[:, 1:], torch.zeros_like(letter[:, :1])], dim=1)
    place = torch.where(ends, ends.cumsum(1) - 1, ids.shape[1])
    compact = torch.zeros_like(torch.cat([every, every[:, :1]], dim=1)).scatter(1, place, every)
    return compact[:, :-1], ends.sum(1)
