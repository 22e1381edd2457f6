"""Omniglot: 1623 handwritten characters of 50 alphabets, 20 drawings of each (Lake, Salakhutdinov & Tenenbaum 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from quickstudy.errors import ConfigError, unknown_name
from quickstudy.formats.augment import Augment
from quickstudy.registry import formats, sources, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import SPLITS
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.glyphs import glyphs as glyph_source
from quickstudy.tasks.mixture import Mixture
from quickstudy.tasks.omniglot_data import find, read_archive
from quickstudy.tasks.omniglot_splits import MINIMAL_VALIDATION, VALIDATION, alphabet, lake, vinyals
from quickstudy.tasks.pool import TensorPool

Split = Literal["vinyals", "lake", "lake-minimal-1", "lake-minimal-2"]
_BACKGROUND = {
    "vinyals": "images_background",
    "lake": "images_background",
    "lake-minimal-1": "images_background_small1",
    "lake-minimal-2": "images_background_small2",
}


@sources.register("omniglot", data="Omniglot", places=("root",))
def omniglot(
    *,
    split: Split = "vinyals",
    size: int = 28,
    within: bool = False,
    symmetries: int = 1,
    rotate_test: bool | None = None,
    trainval: bool = False,
    validation: tuple[str, ...] | None = None,
    evaluation: Literal["official", "all"] = "official",
    glyphs: float = 0.0,
    ink: bool = False,
    rotate: float = 0.0,
    scale: float = 0.0,
    shear: float = 0.0,
    translate: float = 0.0,
    elastic: float = 0.0,
    thickness: float = 0.0,
    root: str | None = None,
) -> ClassSource | Mixture:
    """Handwritten characters of 50 alphabets, 20 drawings each.

    Images are (1, size, size) in [0, 1] with ink 1 on paper 0, averaged over areas from 105 x 105.

    split: 'vinyals' mixes the characters of all alphabets into 1028 for training, 172 for validation, 423 for test
        (Vinyals et al. 2016). 'lake' tests on alphabets never seen: it trains on the 30 background alphabets less
        `validation`; 'lake-minimal-1' and '-2' train on five alphabets only (Lake et al. 2015).
    size: side of the images in pixels.
    within: all characters of a task come from one alphabet, as in the official one-shot runs; harder.
    symmetries: 4 adds every character turned by 90, 180 and 270 degrees as a class of its own, 8 the mirrored ones too.
    rotate_test: whether that holds for val and test too. Default: yes for 'vinyals', whose published results count
        turned test characters as classes (Vinyals et al. 2016, Snell et al. 2017), no for the others.
    trainval: for 'vinyals', train on all 1200 characters, as the published results do once their options are chosen.
        'val' is then a part of 'train': watch it, but choose nothing by it.
    validation: for 'lake', the background alphabets held out of training; default: the five that 'vinyals' holds
        out, or one for the minimal sets. Empty: train on all; 'val' is then the training characters.
    evaluation: for 'lake', test on the 'official' ten alphabets of the one-shot runs, or on 'all' twenty.
    glyphs: share, in [0, 1], of training tasks drawn from procedural characters (the source 'glyphs') instead.
    ink: cut every image to what is drawn on it, as the format 'ink' does with any canvas, which is then their format.
    rotate, scale, shear, translate, elastic, thickness: distortion of training images; see `Augment` for the units.
    root: folder of the archives. Default: $QUICKSTUDY_DATA/omniglot, else the user's cache folder, into which they
        are downloaded from their authors (16 MB).

    Raises DataError if the archives are broken, or neither here nor to be fetched (then DownloadError).
    """
    if split not in _BACKGROUND:
        raise unknown_name("split of Omniglot", split, _BACKGROUND)
    if split == "vinyals" and validation is not None:
        raise ConfigError("validation belongs to the 'lake' splits; 'vinyals' has a fixed one. Leave it out.")
    if split != "vinyals" and trainval:
        raise ConfigError(
            "trainval belongs to the split 'vinyals'. For 'lake', an empty validation trains on everything."
        )
    format = formats.make("ink", size=size) if ink else formats.make("image", size=size, channels=1, invert=True)
    parts = [
        read_archive(find(name, root), size, format if ink else None)
        for name in (_BACKGROUND[split], "images_evaluation")
    ]
    background, unseen = (part.characters for part in parts)
    if split == "vinyals":
        chosen = vinyals(background, unseen, trainval)
    else:
        held_out = MINIMAL_VALIDATION.get(split, VALIDATION) if validation is None else tuple(validation)
        chosen = lake(background, unseen, held_out, evaluation == "official")
    names = background + unseen
    pool = TensorPool.from_labels(
        format,
        torch.cat([p.x for p in parts]),
        torch.cat([parts[0].labels, parts[1].labels + len(background)]),
        names,
        groups=[alphabet(name) for name in names],
    )
    turn_all = split == "vinyals" if rotate_test is None else rotate_test
    source = ClassSource(
        pool=pool,
        splits=_numbered(chosen, names),
        spec=TaskSpec(format, targets.make("classes")),
        within=within,
        symmetries=symmetries,
        symmetric_splits=SPLITS if turn_all else ("train",),
        augmentation=Augment(rotate, scale, shear, translate, elastic, thickness),
    )
    if not glyphs:
        return source
    drawn = glyph_source(
        size=size,
        within=within,
        symmetries=symmetries,
        ink=ink,
        rotate=rotate,
        scale=scale,
        shear=shear,
        translate=translate,
        elastic=elastic,
        thickness=thickness,
    )
    return Mixture(first=source, second=drawn, share=glyphs)


def _numbered(splits: dict[str, list[str]], names: Sequence[str]) -> dict[str, torch.Tensor]:
    number = {name: i for i, name in enumerate(names)}
    return {split: torch.tensor([number[c] for c in chosen], dtype=torch.int64) for split, chosen in splits.items()}
