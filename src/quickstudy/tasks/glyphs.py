"""Procedural characters: an endless supply of alphabets, drawn when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from quickstudy.errors import ConfigError
from quickstudy.formats.augment import Augment
from quickstudy.registry import formats, sources, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import SPLITS
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.pool import Pool
from quickstudy.tasks.strokes import draw


@dataclass(frozen=True)
class GlyphPool(Pool):
    """`alphabets` x `characters` classes of `drawings` images each; nothing is stored but the numbers."""

    alphabets: int
    characters: int
    drawings: int
    size: int
    fill: bool = False
    counts: Tensor = field(init=False)
    groups: Tensor = field(init=False)

    def __post_init__(self) -> None:
        classes = torch.arange(self.alphabets * self.characters)
        object.__setattr__(self, "groups", classes // self.characters)
        object.__setattr__(self, "counts", torch.full_like(classes, self.drawings))

    def fetch(self, classes: Tensor, items: Tensor, features: Any = None) -> Tensor:
        flat = classes.flatten()
        images = draw(flat // self.characters, flat % self.characters, items.flatten(), self.size, self.fill)
        return images.reshape(*classes.shape, 1, self.size, self.size)

    def name(self, index: int) -> str:
        return f"alphabet{index // self.characters + 1}/character{index % self.characters + 1:02d}"

    def listed(self, indices: Sequence[int]) -> list[str]:
        return []

    def to(self, device: torch.device | str) -> GlyphPool:
        moved = replace(self)
        for name in ("counts", "groups"):
            object.__setattr__(moved, name, getattr(self, name).to(device))
        return moved


@sources.register("glyphs")
def glyphs(
    *,
    size: int = 28,
    within: bool = False,
    symmetries: int = 1,
    alphabets: int = 4000,
    characters: int = 30,
    drawings: int = 1000,
    ink: bool = False,
    rotate: float = 0.0,
    scale: float = 0.0,
    shear: float = 0.0,
    translate: float = 0.0,
    elastic: float = 0.0,
    thickness: float = 0.0,
) -> ClassSource:
    """Procedural handwritten characters; needs no data.

    Images are (1, size, size) in [0, 1] with ink 1 on paper 0. Each alphabet has a style of its own; of all `alphabets`
    (at least 3) the last tenth is for test, the tenth before it for validation.

    size: side of the images in pixels. alphabets: how many there are.
    within: all characters of a task come from one alphabet; harder.
    symmetries: 4 adds turned characters as classes of their own to training, 8 the mirrored ones too.
    characters, drawings: characters of an alphabet, and different drawings of each.
    ink: every drawing fills its image, as the format 'ink' makes it, which is then their format.
    rotate, scale, shear, translate, elastic, thickness: distortion of training images; see `Augment` for the units.
    """
    for name, value, least in (("alphabets", alphabets, 3), ("characters", characters, 1), ("drawings", drawings, 2)):
        if value < least:
            raise ConfigError(f"{name} must be at least {least}, found {value}.")
    held_out = max(1, alphabets // 10)
    classes = torch.arange(alphabets * characters)
    format = formats.make("ink", size=size) if ink else formats.make("image", size=size, channels=1, invert=True)
    starts = (0, alphabets - 2 * held_out, alphabets - held_out, alphabets)
    return ClassSource(
        pool=GlyphPool(alphabets, characters, drawings, size, ink),
        splits={s: classes[starts[i] * characters : starts[i + 1] * characters] for i, s in enumerate(SPLITS)},
        spec=TaskSpec(format, targets.make("classes")),
        within=within,
        symmetries=symmetries,
        symmetric_splits=("train",),
        augmentation=Augment(rotate, scale, shear, translate, elastic, thickness),
    )
