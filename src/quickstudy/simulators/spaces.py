"""Spaces of Gymnasium as tensors: what is seen as float32, what is done from [-1, 1] or a number of many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quickstudy.errors import ConfigError, DataError

Floats = NDArray[np.float32]


class Seen(NamedTuple):
    """shape: of what is seen, (D,) or (C, height, width). read: from an observation to it, float32."""

    shape: tuple[int, ...]
    read: Callable[[Any], Floats]


@dataclass(frozen=True)
class Done:
    """count: of actions, or size: numbers of one, in [-1, 1]. write: from either to what the environment is given."""

    count: int
    size: int
    write: Callable[[Any], Any]


def seen(space: Any, who: str) -> Seen:
    """Images (uint8 of 2 or 3 axes, or any Box of 3) as planes, all else as numbers in a row. Those of 8 bits are
    divided by the largest that is possible; one of n things, as a discrete number is, becomes n numbers.

    who: the environment, for errors. ConfigError where there are not finitely many numbers.
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        scale = np.float32(1 / max(float(space.high.max()), 1.0) if space.dtype == np.uint8 else 1.0)
        if len(space.shape) == 3 or (len(space.shape) == 2 and space.dtype == np.uint8):
            return _planes(space.shape, scale)
        shape = (int(np.prod(space.shape)),)
        return Seen(shape, lambda value: np.asarray(value, np.float32).reshape(shape) * scale)
    if not _flat(space, spaces):
        raise ConfigError(
            f"{who} shows {space}, which is no fixed number of numbers: Box, Discrete, MultiDiscrete, MultiBinary, and "
            "Dict and Tuple of them are. Wrap it in a Python file and give that."
        )
    shape = spaces.flatten_space(space).shape
    return Seen(shape, lambda value: np.asarray(spaces.flatten(space, value), np.float32))


def _flat(space: Any, spaces: Any) -> bool:
    if isinstance(space, spaces.Dict):
        return all(_flat(part, spaces) for part in space.spaces.values())
    if isinstance(space, spaces.Tuple):
        return all(_flat(part, spaces) for part in space.spaces)
    return isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary)


def _planes(shape: tuple[int, ...], scale: np.float32) -> Seen:
    """Channels stand last, as Gymnasium has them, unless the first axis is shorter than both others."""
    if len(shape) == 2:
        return Seen((1, *shape), lambda value: np.asarray(value, np.float32)[None] * scale)
    if shape[0] < min(shape[1:]):
        return Seen(shape, lambda value: np.asarray(value, np.float32) * scale)
    height, width, channels = shape
    return Seen((channels, height, width), lambda value: np.asarray(value, np.float32).transpose(2, 0, 1) * scale)


def done(space: Any, who: str) -> Done:
    """Discrete and Box actions; the bounds of a Box are mapped from [-1, 1], and what lies outside is cut.

    ConfigError for other spaces, and for bounds that are not finite.
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        start = int(space.start)
        return Done(int(space.n), 0, lambda action: start + min(max(int(action), 0), int(space.n) - 1))
    if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating):
        raise ConfigError(
            f"{who} is acted in by {space}, expected one of many (Discrete) or numbers (Box). Wrap it in a Python file "
            "and give that."
        )
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ConfigError(
            f"{who} sets no bounds to its actions, {space}, so that nothing says how large one is. Wrap it in a Python "
            "file, with gymnasium.wrappers.RescaleAction for instance, and give that."
        )

    def write(action: Any) -> Any:
        share = (np.clip(np.asarray(action, np.float64), -1.0, 1.0).reshape(space.shape) + 1) / 2
        return (low + (high - low) * share).astype(space.dtype)

    return Done(0, int(np.prod(space.shape)), write)


def finite(value: Floats, who: str) -> Floats:
    """What is seen; DataError where it holds no finite number."""
    if not np.isfinite(value).all():
        raise DataError(f"{who} shows NaN or an infinite value. Mend the environment: nothing can be learned from it.")
    return value
