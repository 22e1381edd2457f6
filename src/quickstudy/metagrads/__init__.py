"""How ∂L/∂φ is taken, one estimator a file. Each needs only the learner's contract."""

from quickstudy.errors import unknown_name
from quickstudy.metagrads.base import Metagrad, Score
from quickstudy.metagrads.first_order import first_order
from quickstudy.metagrads.reptile import reptile
from quickstudy.metagrads.unrolled import unrolled

METAGRADS: dict[str, Metagrad] = {"unrolled": unrolled, "first_order": first_order, "reptile": reptile}


def metagrad(name: str) -> Metagrad:
    """The estimator called `name`; a ConfigError with the nearest names if there is none."""
    if name not in METAGRADS:
        raise unknown_name("meta-gradient estimator", name, METAGRADS)
    return METAGRADS[name]


__all__ = ["METAGRADS", "Metagrad", "Score", "first_order", "metagrad", "reptile", "unrolled"]
