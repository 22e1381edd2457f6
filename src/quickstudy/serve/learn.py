"""What a model's examples come to: learning, asking and measuring, in the thread that computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from quickstudy.deploy.answering import Told
from quickstudy.deploy.model import Model
from quickstudy.episode import Features, leaves, map_features
from quickstudy.errors import ConfigError
from quickstudy.formats.records import Stored
from quickstudy.serve import tell
from quickstudy.serve.books import Live
from quickstudy.serve.refusal import Refused, too_few
from quickstudy.serve.starts import Start
from quickstudy.serve.study import Study, stacked
from quickstudy.storage.tensors import checksum

ALARMS = 0.05
"""The share of inputs of the classes that are taken for others, where nothing else is asked for."""


def learnable(start: Start, study: Study) -> bool:
    """Whether there is enough to learn from."""
    if start.format.labels_itself:
        return sum(len(one.raw) for one in study.examples) > 1
    return len(study.names) > 1 if start.spec.target.relabels else len(study.live) > 1


def given(start: Start, study: Study) -> tuple[Any, Any]:
    """Records and labels of all examples, as `Run.adapt` takes them."""
    examples = study.examples
    if start.format.labels_itself:
        return [value for one in examples for value in one.raw], None
    labels = [one.label for one in examples]
    return ([one.raw for one in examples] if start.as_sent else stacked(examples)), labels


def learn(start: Start, study: Study) -> Model:
    """The model of these examples; 409 where they are too few."""
    if not learnable(start, study):
        raise too_few(len(study.names))
    return start.adapt(*given(start, study))


def ready(live: Live) -> Model:
    """The model, learned now if it was not yet."""
    if live.model is None:
        start, study = live.start, live.study
        if not start.keeps or live.folder is None:
            live.model = learn(start, study)
        elif not learnable(start, study):
            raise too_few(len(study.names))
        else:
            live.model = start.kept(live.folder, checksum(*study.live)[:24], *given(start, study))
    return live.model


def stored(start: Start, records: Sequence[Any]) -> Features:
    """Files as compact tensors (n, …)."""
    return start.format.store(list(records)).x


def asked(live: Live, records: list[Any], options: dict[str, Any]) -> list[dict[str, Any]]:
    """What is said of these records. options: as for `Model.predict`."""
    model = ready(live)
    if model.spec.format.labels_itself:
        values = [value for one in records for value in (one if isinstance(one, list) else [one])]
        return tell.answers(
            live, told(live, model.spec.format.query(values or given(live.start, live.study)[0]), options)
        )
    return tell.answers(live, told(live, model.spec.format.query(records), options))


def shares(start: Start) -> bool:
    """Whether records are embedded alike for all models of a start."""
    alike = not start.as_sent and not start.format.prepares and not start.format.cuts
    return alike and start.learner.evaluated().embedded is not None


def together(start: Start, pairs: Sequence[tuple[Live, Any]], options: dict[str, Any]) -> list[dict[str, Any]]:
    """What each model says of the record beside it: models of one start that `shares`, so that all are embedded at
    once."""
    lives = list(dict.fromkeys(live for live, _ in pairs))
    if len(lives) == 1:
        return asked(lives[0], [record for _, record in pairs], options)
    stored = start.format.query([record for _, record in pairs])
    with torch.no_grad():
        model = ready(lives[0])
        z = model.learner.embed(model.params, start.format.features(stored.x))
    said: list[dict[str, Any]] = [{}] * len(pairs)
    for live in lives:
        rows = [i for i, (one, _) in enumerate(pairs) if one is live]
        own, embedded = (map_features(lambda t: t[rows], part) for part in (stored.x, z))  # noqa: B023
        part = tell.answers(live, told(live, Stored(own, rows, []), {**options, "embedded": embedded}))
        for row, one in zip(rows, part, strict=True):
            said[row] = one
    return said


def told(live: Live, x: Stored, options: dict[str, Any]) -> Told:
    """`Model.told`, with which inputs are of no class, where that can be told and nothing else is asked for."""
    model = ready(live)
    if "false_alarms" in options or not live.refuses:
        return model.told(x, **options)
    if model.trust is None or not model.spec.target.calibrates:
        live.refuses = False
        return model.told(x, **options)
    try:
        return model.told(x, false_alarms=ALARMS, **options)
    except ConfigError:  # which says that no such rate can be promised: then nothing is refused
        said = model.told(x, **options)
        live.refuses = False
        return said


def scored(live: Live, records: list[Any], labels: list[Any]) -> dict[str, Any]:
    """How good the model is on labelled records that it has not seen."""
    model = ready(live)
    if model.spec.format.labels_itself:
        raise Refused(
            422, "not_usable", "A series is its own labels: ask for a forecast, and hold it against what came."
        )
    found = model.score(records, labels)
    result: dict[str, Any] = tell.plain({"text": str(found), **found.to_json()})
    return result


def inferred(live: Live, x: Features) -> dict[str, Any]:
    """Outputs by name, of compact tensors or features (n, …): what is said, in nested lists, and the classes' names."""
    model = ready(live)
    count = len(leaves(x)[0])
    said = model.told(Stored(x, list(range(count)), []))
    answer, logits = said.answer, said.logits
    if not model.spec.target.relabels:
        table = answer.table()
        found = {name.partition(" ")[0]: cells for name, cells in table.items()}
        return {("mean" if name == "value" else name): cells for name, cells in found.items()}
    p = answer.prediction.exp()
    outputs: dict[str, Any] = {} if logits is None else {"logits": logits.float()}
    outputs["probabilities"] = p.float()
    known = getattr(answer, "known", None)
    return outputs if known is None else outputs | {"known": known.float()}
