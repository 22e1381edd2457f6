"""Statistics for BatchNorm layers from what was recorded of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from quickstudy.entries import NORMALISATION, STATISTICS, prefixed, with_prefix
from quickstudy.episode import Params
from quickstudy.errors import ModelError
from quickstudy.learners.moments import Moments
from quickstudy.learners.network import Network


def takes_statistics(networks: Mapping[str, Network]) -> dict[str, Network]:
    """Those of the networks, by what stands before their entries in φ, whose statistics are not given."""
    return {prefix: network for prefix, network in networks.items() if network.norm != "given"}


def without_statistics(networks: Mapping[str, Network], params: Params) -> Params:
    """φ without what was measured before of these networks, and of the learner's own where `network` is one of them."""
    taken = tuple(prefix + STATISTICS for prefix in networks)
    return {name: value for name, value in params.items() if not name.startswith(taken)}


def population_statistics(networks: Mapping[str, Network], slots: Sequence[Moments], dtype: torch.dtype) -> Params:
    """The entries of φ with mean and variance for every BatchNorm layer of the networks.

    slots: records of passes, by inner step, of which networks that normalise 'per_step' have one after another, and
    the others what all hold together. Raises ModelError for a network that was not called.
    """
    together = Moments()
    for moments in slots:
        together.merge(moments)
    statistics: Params = {}
    for prefix, network in networks.items():
        here = prefix + NORMALISATION
        found = prefixed(here, together.statistics(dtype))
        if network.layers and not found:
            raise ModelError(
                f"No pass over training tasks reached the BatchNorm layers of the network "
                f"{prefix.rstrip('.') or 'network'!r}, so that they have no statistics. Let the learner's `passes` "
                "call it, or use norm='batch'."
            )
        if network.norm == "per_step":
            each = [prefixed(here, moments.statistics(dtype)) for moments in slots[: network.steps + 1]]
            found = {name: torch.stack([slot[name] for slot in each]) for name in found}
        statistics |= with_prefix(here, found)
    return statistics
