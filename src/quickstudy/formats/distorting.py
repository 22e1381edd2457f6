"""How examples of a format vary without being others: what images and recordings can, and others cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from quickstudy.episode import Features
from quickstudy.errors import ConfigError
from quickstudy.formats.distortion import Distortion
from quickstudy.formats.leaving import Leaving


class Distorting(Leaving):
    """The part of the contract of a format that augmentations ask for."""

    symmetries: ClassVar[Mapping[int, str]] = {}
    """How many symmetries `turned` may make new classes by, and what they are, in words."""
    distortion: ClassVar[type[Distortion] | None] = None
    """What says how far `disturbed` and `distorted` may go; None where they mean nothing."""

    def disturbed(self, stored: Features, keys: Tensor, how: Any) -> Features:
        """What of random distortions comes before `features`: compact tensors (n, …), by their keys (n,)."""
        return stored

    def distorted(self, x: Features, keys: Tensor, how: Any) -> Features:
        """Small random distortions of examples x (n, …), by their keys (n,)."""
        raise self._undistorted("Distortions")

    def turned(self, x: Features, which: Tensor) -> Features:
        """One of the `symmetries`, (n,) int64, of each example."""
        raise self._undistorted("Symmetries")

    def views(self, x: Features) -> list[Features]:
        """Fixed, slightly distorted views of examples, the examples themselves first."""
        raise self._undistorted("Views")

    def require_distortions(self, how: Distortion, symmetries: int) -> None:
        """ConfigError for an augmentation or for symmetries that these records do not have."""
        if symmetries != 1 and symmetries not in self.symmetries:
            if not self.symmetries:
                raise self._undistorted("Symmetries")
            *known, last = ["1 (none)", *(f"{count} ({said})" for count, said in self.symmetries.items())]
            raise ConfigError(f"symmetries must be {', '.join(known)} or {last}, found {symmetries}.")
        if how and self.distortion is None:
            raise self._undistorted("Distortions")
        if how and self.distortion is not None and not isinstance(how, self.distortion):
            raise ConfigError(
                f"{self.what.capitalize()} are distorted by {self.distortion.__name__}, found {type(how).__name__}. "
                "Give that."
            )

    def _undistorted(self, what: str) -> ConfigError:
        return ConfigError(
            f"{what} need square images (C, S, S), and these are {self}. Leave them out, or say that x are images: "
            "format=quickstudy.formats.Image(size=S, channels=C)."
        )
