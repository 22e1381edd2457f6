"""The model after a change, which its provenance tells."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from quickstudy.deploy.adapted import Adapted
from quickstudy.deploy.grown import Grown
from quickstudy.trust.task import trust_or_why

M = TypeVar("M", bound=Adapted)


def changed(model: M, grown: Grown, how: str) -> M:
    """The model that has grown so, with the trust that its examples now give it. how: 'more' or 'without'."""
    learner, state, names, fitted, kept, tally, count, effect, examples = grown
    told: dict[str, Any] = {
        "change": how,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "support": [model.count, count],
        "classes added": [name for name in names if name not in model.names],
        "classes gone": [name for name in model.names if name not in names],
    }
    if effect is not None:
        told["known"] = effect.to_json()
    provenance = {**model.provenance, "support": count, "history": [*model.provenance.get("history", ()), told]}
    trust = model.trust
    if trust is not None:
        trust, why = (
            (None, "it has changed without its examples, which it has not kept (keep=False).")
            if examples is None
            else trust_or_why(trust.trust, learner, model.params, examples)
        )
        provenance |= {"no trust": why} if trust is None else {}
    return replace(
        model, learner=learner, state=state, names=names, fitted=fitted, trust=trust, kept=kept, tally=tally,
        provenance=provenance,
    )  # fmt: skip
