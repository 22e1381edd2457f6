"""An adapted model as what its file holds, tensors by their part and plain facts, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

from quickstudy.deploy.adapted import Adapted
from quickstudy.deploy.support import Kept
from quickstudy.engine import place, resolve_device
from quickstudy.episode import Params, map_features
from quickstudy.errors import CheckpointError, fitting_together
from quickstudy.spec import TaskSpec
from quickstudy.tally import Tally
from quickstudy.training.config import RunConfig
from quickstudy.training.learner import restored_learner
from quickstudy.trust.task import restored as restored_trust

M = TypeVar("M", bound=Adapted)
_RESTORE = "Restore it from a copy, or adapt anew."
_TRIED = 7  # records; few axes of anything else are as long


def packed(model: Adapted) -> tuple[dict[str, Params], dict[str, Any]]:
    """The tensors of each part, and the facts, as `store` writes them."""
    parts = {
        "meta": model.params,
        "task": model.state,
        "fitted": model.fitted,
        "support": {} if model.kept is None else model.kept.entries(),
        "tally": {} if model.tally is None else model.tally.entries(),
        "trust": {} if model.trust is None else model.trust.tensors(),
    }
    facts = {
        "config": model.config.to_json(),
        "names": list(model.names),
        "spec": model.spec.to_json(),
        "built": (model.built or model.spec).to_json(),
        "provenance": dict(model.provenance),
        **({} if model.trust is None else {"trust": model.trust.trust.to_json()}),
    }
    return parts, facts


def unpacked(
    kind: type[M], parts: Mapping[str, Any], facts: Mapping[str, Any], module: nn.Module | None, device: str
) -> M:
    """The inverse of `packed`, tried on made-up records. kind: what to make of it. module: the network, where it was
    one of the user's own. CheckpointError where tensors and facts do not fit together."""
    config, spec = RunConfig.from_json(facts["config"]), TaskSpec.from_json(facts["spec"])
    built = TaskSpec.from_json(facts["built"])
    learner = restored_learner(config, built, parts["meta"], module)
    names, on = tuple(facts["names"]), resolve_device(device)
    if spec.ways and len(names) != spec.ways:
        raise CheckpointError(f"The model names {len(names)} classes, but tells {spec.ways} apart. {_RESTORE}")
    with fitting_together("What the model has learned does not fit its settings", _RESTORE):
        learner = (learner if built == spec else learner.at(spec)).evaluated()
        params, state = (place(parts[part], on, learner.inner_loop) for part in ("meta", "task"))
        fitted = {name: value.to(on) for name, value in parts["fitted"].items()}
        trust = None
        if "trust" in facts:
            trust = restored_trust(facts["trust"], {n: v.to(on) for n, v in parts["trust"].items()})
        kept, tally = Kept.of(parts.get("support", {})), Tally.of(place(parts.get("tally", {}), on))
        model = kind(config, learner, params, state, names, fitted, built, facts["provenance"], trust, kept, tally)
        made_up = map_features(lambda t: t.to(on), spec.format.trial(_TRIED))
        spec.format.ask(model.computed.said, made_up, fitted)
    return model
