"""Where the models lie that come with the package, and what they are called."""

from __future__ import annotations

from pathlib import Path

MODELS = Path(__file__).parent / "models"
TABLES, CLASSES, NUMBERS = "tables", "tables-classes", "tables-numbers"
"""The one that chooses by the labels, and those that it chooses from."""
PHOTOS = "photos"
"""Which is not in the package, as its encoder is not ours."""


def names() -> list[str]:
    """What there is in the package, by name."""
    held = [folder.name for folder in MODELS.iterdir() if (folder / "config.json").exists()] if MODELS.exists() else []
    return sorted([*held, *([TABLES] if {CLASSES, NUMBERS} <= set(held) else [])])


def folder_of(name: str) -> Path:
    """The folder of the one called `name`; of 'tables' that of its classes."""
    return MODELS / (CLASSES if name == TABLES else name)
