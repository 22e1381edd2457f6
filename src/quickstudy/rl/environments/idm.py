"""How drivers drive: the Intelligent Driver Model along a lane, and MOBIL across lanes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LENGTH = 5.0
"""Of a car, metres."""
STANDSTILL = 2.0
"""s₀, the gap that is kept in a jam, metres."""
HASTE = 1.5
"""a, the acceleration on a free road from standing, m/s²."""
COMFORT = 2.0
"""b, the deceleration that is comfortable, m/s²."""
SAFE = 4.0
"""The deceleration that a change of lanes may ask of anyone, m/s²."""
HARDEST = 9.0
"""What brakes can do, m/s²."""
THRESHOLD = 0.1
"""What a change of lanes must gain, m/s²."""
_LEAST_GAP = 0.1


def acceleration(speed: Tensor, gap: Tensor, closing: Tensor, desired: Tensor, headway: Tensor) -> Tensor:
    """Of cars under the Intelligent Driver Model (Treiber, Hennecke & Helbing 2000), m/s²; not below -HARDEST.

    a (1 - (v / v₀)⁴ - (s* / s)²), where s* = s₀ + max(0, v T + v Δv / (2 √(a b))). All broadcast. speed: v, m/s. gap: s
    from bumper to bumper, metres; infinite where the road is free. closing: Δv, how much faster one is than the car
    ahead, m/s. desired: v₀, m/s. headway: T, the time gap, seconds.

    >>> free = acceleration(torch.tensor(0.0), torch.tensor(torch.inf), torch.tensor(0.0), torch.tensor(30.0),
    ...                     torch.tensor(1.5))
    >>> float(free)
    1.5
    """
    wanted = STANDSTILL + (speed * (headway + closing / (2 * (HASTE * COMFORT) ** 0.5))).clamp(min=0)
    free = 1 - (speed / desired).square().square()
    near = (wanted / gap.clamp(min=_LEAST_GAP)).square()
    pull: Tensor = (HASTE * (free - near)).clamp(min=-HARDEST)
    return pull


def equilibrium_gap(speed: Tensor, desired: Tensor, headway: Tensor) -> Tensor:
    """The gap at which a car behind one of the same speed keeps its own: (s₀ + v T) / √(1 - (v / v₀)⁴), metres."""
    return (STANDSTILL + speed * headway) / (1 - (speed / desired).square().square()).sqrt()


class Change(NamedTuple):
    """The acceleration of a car as things are, and after a change of lanes, m/s²."""

    now: Tensor
    then: Tensor

    @property
    def gain(self) -> Tensor:
        return self.then - self.now


def incentive(own: Change, new: Change, old: Change, politeness: Tensor) -> Tensor:
    """What a change of lanes gains by MOBIL (Kesting, Treiber & Helbing 2007) over the threshold, m/s²; -∞ where it is
    not safe.

    own: of the one who changes. new, old: of those behind it, after the change and before it. politeness: p, the weight
    of what others gain. It is made where (ã - a) + p ((ã_n - a_n) + (ã_o - a_o)) exceeds the threshold and neither the
    car itself nor the one behind has to brake harder than SAFE.
    """
    gain = own.gain + politeness * (new.gain + old.gain) - THRESHOLD
    safe = (new.then >= -SAFE) & (own.then >= -SAFE)
    return torch.where(safe, gain, -torch.inf)
