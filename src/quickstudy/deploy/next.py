"""Which records without a label would teach a model most."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quickstudy.deploy.adapted import Adapted
from quickstudy.deploy.answering import Listening, most_of, on_device
from quickstudy.episode import Features, leaves
from quickstudy.errors import ConfigError
from quickstudy.formats.records import say
from quickstudy.targets.distribution import Distribution
from quickstudy.trust.ask import worth
from quickstudy.trust.heard import Heard


def next_to_label(model: Adapted, records: Any, count: int) -> list[int]:
    """See `Model.next`."""
    if not model.spec.target.calibrates:
        raise ConfigError(
            f"Which record to label next is said by models of classes; this one tells {model.spec.target}."
        )
    if count < 1:
        raise ConfigError(f"At least 1 record can be labelled next, found count={count}.")
    stored = model.spec.format.query(records)
    say(stored.notices)
    x, listening = on_device(model, stored.x), Listening(model.computed)
    known: list[Tensor | None] = []

    def asked(features: Features) -> Distribution:
        if model.trust is None:
            heard = Heard(Distribution(listening.embedded(features)[0]))
        else:
            heard = model.trust.heard(listening, features)
        known.append(heard.known)
        p = heard.said.mean.softmax(1)
        place = p if model.learner.embedded is None else leaves(listening.places[-1])[0]
        return Distribution(torch.cat([p, place.flatten(1)], dim=1))

    p, place = model.spec.format.ask(asked, x, model.fitted).mean.tensor_split([len(model.names)], dim=1)
    return [stored.kept[i] for i in worth(p, most_of(known, model.spec.format.owners(x)), place, count)]
