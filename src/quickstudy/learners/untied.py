"""Each network of a learner has its weights for itself."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from quickstudy.errors import ModelError


def refuse_shared(modules: Mapping[str, nn.Module]) -> None:
    """ModelError for a parameter or buffer of two modules: each network has entries of its own in φ, which would part
    with the first step."""
    owners: dict[int, tuple[str, str]] = {}
    for owner, module in modules.items():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            first, other = owners.setdefault(id(tensor), (owner, name))
            if first != owner:
                raise ModelError(
                    f"The networks {first!r} and {owner!r} share a layer: {other!r} of the one is {name!r} of the "
                    "other. They would be trained apart, each from the same start. Give one of them a copy, "
                    "copy.deepcopy(layer), to say so; or put the shared layers into one of them alone."
                )
