"""Which characters of Omniglot are for training, validation and test, under the protocols in use.

A character is named 'Alphabet/characterNN'; lists of characters are sorted by name.
"""

from __future__ import annotations

from collections.abc import Sequence

from quickstudy.errors import ConfigError, DataError, unknown_name
from quickstudy.tasks.base import SPLITS

VALIDATION = ("Armenian", "Bengali", "Early_Aramaic", "Hebrew", "Mkhedruli_(Georgian)")
"""The validation alphabets of the split of Vinyals et al. 2016 (172 characters), taken for Lake's protocol too."""
MINIMAL_VALIDATION = {"lake-minimal-1": ("Early_Aramaic",), "lake-minimal-2": ("Greek",)}
OFFICIAL = (
    "Atlantean",
    "Ge_ez",
    "Glagolitic",
    "Gurmukhi",
    "Kannada",
    "Malayalam",
    "Manipuri",
    "Old_Church_Slavonic_(Cyrillic)",
    "Tengwar",
    "Tibetan",
)
"""The ten alphabets of the official one-shot runs (Lake, Salakhutdinov & Tenenbaum 2015)."""
_TRAINVAL, _TOTAL = 1200, 1623


def alphabet(character: str) -> str:
    return character.split("/")[0]


def vinyals(background: Sequence[str], evaluation: Sequence[str], trainval: bool) -> dict[str, list[str]]:
    """The split of Vinyals et al. 2016 as published with Prototypical Networks: 1028, 172 and 423 characters.

    The first 1200 characters are for training and validation (the background alphabets, then the evaluation
    alphabets up to Gurmukhi/character41), the rest for test. With `trainval`, training has all 1200.
    """
    characters = [*background, *evaluation]
    if len(characters) != _TOTAL:
        raise DataError(
            f"The split 'vinyals' needs all {_TOTAL} characters of Omniglot, found {len(characters)}. "
            "Fetch the complete archives, or use split='lake'."
        )
    known = characters[:_TRAINVAL]
    val = [c for c in known if alphabet(c) in VALIDATION]
    train = known if trainval else [c for c in known if alphabet(c) not in VALIDATION]
    return dict(zip(SPLITS, (train, val, characters[_TRAINVAL:]), strict=True))


def lake(
    background: Sequence[str], evaluation: Sequence[str], validation: Sequence[str], official: bool
) -> dict[str, list[str]]:
    """Lake's protocol: train on background alphabets less `validation`, test on the official (or all) evaluation ones.

    With an empty `validation`, training has every background alphabet, and 'val' is the same characters.
    """
    known = sorted({alphabet(c) for c in background})
    for name in validation:
        if name not in known:
            raise unknown_name("background alphabet for validation", name, known)
    train = [c for c in background if alphabet(c) not in validation]
    if not train:
        raise ConfigError(f"validation names all {len(known)} background alphabets, so none is left to train on.")
    val = [c for c in background if alphabet(c) in validation] if validation else train
    test = [c for c in evaluation if not official or alphabet(c) in OFFICIAL]
    return dict(zip(SPLITS, (train, val, test), strict=True))
