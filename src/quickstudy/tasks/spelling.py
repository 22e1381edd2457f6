"""What recorded words are made of: themselves, or letters and a space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from quickstudy.errors import DataError, first_of


def parts_of(words: Sequence[str], spelled: bool) -> list[list[str]]:
    """The tokens of each word: its letters and a space, or itself; DataError for what is no single word.

    >>> parts_of(["go", "on"], spelled=True)
    [['g', 'o', ' '], ['o', 'n', ' ']]
    """
    several = [word for word in words if word.split() != [word]]
    if several and not spelled:
        raise DataError(
            f"The folder {several[0]!r} has a space in its name, so that this is not the name of one word. Rename it "
            f"({'-'.join(several[0].split())!r}), or spell the words (--tasks.spelled)."
        )
    return [[*" ".join(word.split()), " "] if spelled else [word] for word in words]


def tokens_of(parts: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """All that there are, sorted."""
    return tuple(sorted({part for word in parts for part in word}))


def ids_of(parts: Sequence[Sequence[str]], tokens: Sequence[str], root: str) -> Tensor:
    """(words, L) int64: the numbers of each word's tokens from 1, 0 after them; DataError for a token that is none."""
    number = {token: i for i, token in enumerate(tokens, 1)}
    ids = torch.zeros((len(parts), max(map(len, parts))), dtype=torch.int64)
    for row, word in zip(ids, parts, strict=True):
        strange = [part for part in word if part not in number]
        if strange:
            raise DataError(
                f"The folder {''.join(word).strip()!r} of {root} holds {first_of(map(repr, strange))}, which is none "
                f"of the {len(tokens)} tokens that are known ({first_of(tokens)}). Take it out, or train anew."
            )
        row[: len(word)] = torch.tensor([number[part] for part in word])
    return ids
