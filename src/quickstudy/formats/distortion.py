"""How far training examples may be distorted, each format in its own way."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Distortion:
    """The amounts of one kind of distortion each; 0 switches it off. By itself, no distortion at all."""

    def __bool__(self) -> bool:
        """Whether anything is distorted."""
        return any(getattr(self, one.name) for one in fields(self))
