"""Where a model draws the line between inputs of its classes and others, by examples of others."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from quickstudy.deploy.adapted import Adapted
from quickstudy.deploy.answering import most_of, on_device, require_strangers
from quickstudy.episode import Features
from quickstudy.errors import ConfigError
from quickstudy.formats.records import Stored, say
from quickstudy.targets.distribution import Distribution


def threshold(model: Adapted, background: Any, rate: float) -> float:
    """How likely an input must be of a class so that at most the share `rate` of inputs like these, which are of none,
    is taken for one: the k-th smallest of what is said of them, k = ⌈(n + 1) (1 − rate)⌉ (split conformal, Papadopoulos
    et al. 2002). ConfigError where there are too few of them."""
    model.trusted("tell inputs of its classes from others")
    require_strangers(model.spec)
    if not 0 < rate < 1:
        raise ConfigError(f"A rate of false alarms lies between 0 and 1, both excluded, found {rate:g}. Choose 0.05.")
    stored = model.spec.format.query(background)
    say(stored.notices)
    found = _known(model, stored)
    k = math.ceil((len(found) + 1) * (1 - rate) - 1e-9)
    if k > len(found):
        raise ConfigError(
            f"A rate of {rate:g} of background taken for a class needs {math.ceil(1 / rate - 1 - 1e-9)} "
            f"{model.spec.format.what} of background, found {len(found)}. Give more, or choose a rate of "
            f"{1 / (len(found) + 1):.2g} or more."
        )
    return float(found.sort().values[k - 1])


def _known(model: Adapted, stored: Stored) -> Tensor:
    """How likely stored records are of one of the classes, (n,)."""
    trust, parts = model.trusted("tell inputs of its classes from others"), list[Tensor]()

    def asked(features: Features) -> Distribution:
        heard = trust.heard(model.computed, features)
        if heard.known is None:
            raise ConfigError(
                "Nothing tells inputs of no class: the validation tasks had too few classes to keep some from being "
                "shown, or come as they are."
            )
        parts.append(heard.known)
        return heard.said

    model.spec.format.ask(asked, on_device(model, stored.x), model.fitted)
    known = most_of(parts, model.spec.format.owners(stored.x))
    assert known is not None
    return known.cpu()
