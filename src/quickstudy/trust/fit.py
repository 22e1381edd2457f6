"""Trust of a run, fitted over tasks of classes that it was not trained on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.engine import Engine
from quickstudy.engine.embedded import on_embeddings
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, DataError
from quickstudy.tasks.base import Sampling, Source, held_out
from quickstudy.trust.base import Calibration, Pixels, Trust
from quickstudy.trust.draw import ASKED, Size, Tried, as_they_come, sizes, tried
from quickstudy.trust.estimate import fitted_estimator
from quickstudy.trust.evidence import FEW_FOLDS, FOLDS
from quickstudy.trust.intervals import fitted_intervals, missed
from quickstudy.trust.pixels import seen
from quickstudy.trust.quantiles import NEEDED, fitted_quantiles
from quickstudy.trust.regress import crossed
from quickstudy.trust.space import fitted_space
from quickstudy.trust.temperature import fitted_temperature
from quickstudy.trust.unknown import fitted_unknown, seen_by

TASKS, FEWER = 300, 100
"""Tasks that are drawn, and of learners that embed nothing once and for all, so that each example left out costs."""
LEAST = 20
"""Tasks below which nothing is fitted."""
_ALARMS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_COVERAGES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
_EDGE = 1e-9
_PARTS = 5

_Of = TypeVar("_Of")
_log = logging.getLogger("quickstudy")


def fit_trust(
    engine: Engine,
    params: Params,
    source: Source,
    own: Sampling,
    seed: int,
    tasks: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Trust:
    """Draw `tasks` validation tasks of several sizes, learn each, and fit all that `Trust` is of.

    engine: of the run. own: the size of its tasks. tasks: `TASKS`, or `FEWER` of learners without `embedded`, if not
    given. The same numbers for the same seed. ConfigError for tasks that are not of classes; DataError where no classes
    are held out, or too few.
    """
    target = engine.learner.spec.target
    if target.promises == "nothing":
        raise ConfigError(
            "How far answers can be believed is told where tasks are of classes, numbers or masks: these are of "
            f"{target}."
        )
    if engine.learner.transductive:
        raise ConfigError(
            "The answers of a transductive learner depend on what it is asked beside, so nothing holds for one of them."
        )
    parts = source.parts("val") or {"": source}
    if not all(held_out(part) for part in parts.values()):
        raise DataError(
            "No classes are held out for validation, so nothing tells how far answers about new ones can be believed. "
            "Hold some out (most sources: --tasks.val 0.2), and train anew."
        )
    if tasks is None:
        tasks = FEWER if engine.learner.embedded is None else TASKS
    if tasks < 2 * LEAST:
        raise ConfigError(f"Trust takes {2 * LEAST} tasks or more, found {tasks}.")
    if target.promises != "classes":
        few = queries_of(engine, own)
        each = [as_they_come(part, "val", own, max(2 * LEAST, tasks // len(parts)), few) for part in parts.values()]
        drawn = [(part, size) for part, some in zip(parts.values(), each, strict=True) for size in some]
        return _of_values(engine, params, drawn, seed, on_progress)
    engine, source = on_embeddings(engine, params, source, "val")
    parts = source.parts("val") or {"": source}
    space = fitted_space(engine, params, source, 2 * own.ways) if source.balanced else None
    found: list[tuple[Size, Tried, list[str]]] = []
    strangers = any(part.balanced for part in parts.values())
    folds = FOLDS if strangers or engine.learner.embedded is not None else FEW_FOLDS
    for of, part in parts.items():
        for size in sizes(engine, part, "val", own, max(2 * LEAST, tasks // len(parts))):
            drawn_from = part.sampled(size.sampling)
            for one in tried(engine, params, part, "val", size, folds=folds, strangers=strangers, space=space):
                names = drawn_from.class_names("val", one.number)[: size.ways]
                found.append((size, one, [f"{of}/{name}" for name in names]))
                if on_progress is not None:
                    on_progress(min(len(found), tasks))
    classes = sum(len(part.classes("val")) for part in parts.values()) or None
    kinds = [[each for each in found if each[1].evidence.several == several] for several in (False, True)]
    single, several = (_calibrated(kind, seed, classes) if len(kind) >= LEAST else None for kind in kinds)
    if single is None and several is None:
        raise DataError(f"Only {len(found)} validation tasks could be drawn, and {LEAST} are needed. Hold out more.")
    return Trust(single, several, folds=folds, space=space)


def queries_of(engine: Engine, own: Sampling) -> int:
    """How many queries tasks of numbers or masks are to have. own: the size of the run's."""
    spec = engine.learner.spec
    return own.queries if spec.format.rolls or spec.target.grid else ASKED // 2


def _of_values(
    engine: Engine,
    params: Params,
    drawn: Sequence[tuple[Source, Size]],
    seed: int,
    on_progress: Callable[[int], None] | None,
) -> Trust:
    """Of tasks of numbers or masks."""
    learner, tasks = engine.learner, sum(size.tasks for _, size in drawn)
    folds = FEW_FOLDS if learner.embedded is None else FOLDS

    def counted(found: Iterable[_Of]) -> list[_Of]:
        listed = []
        for one in found:
            listed.append(one)
            if on_progress is not None:
                on_progress(min(len(listed), tasks))
        return listed

    if learner.spec.target.promises == "intervals":
        missing = counted(
            one for part, size in drawn for one in missed(engine, params, part, "val", size, folds) if len(one.away)
        )
        levels = _supported(sum(len(one.away) for one in missing))
        intervals = fitted_intervals(missing, levels, learner.spec.format.rolls, seed)
        return Trust(None, None, folds=folds, intervals=intervals)
    pixels = counted(one for part, size in drawn for one in seen(engine, params, part, "val", size))
    temperature = fitted_temperature(*([getattr(one, name) for one in pixels] for name in ("features", "logits", "y")))
    return Trust(None, None, folds=folds, pixels=Pixels(temperature, len(pixels)))


def _supported(count: int) -> list[float]:
    """The coverages that so many inputs tell."""
    return [c for c in _COVERAGES if count * (1 - c) + _EDGE >= NEEDED]


def _calibrated(found: Sequence[tuple[Size, Tried, Sequence[str]]], seed: int, classes: int | None) -> Calibration:
    """All that is fitted over tasks of one kind, with the names of their classes. classes: that they are of; None where
    these are made up anew."""
    tasks, own = [one for _, one, _ in found], int(rng.fold(rng.key(seed, "trust"), len(found)) % (1 << 31))
    features = [one.evidence.features for one in tasks]
    there = [one.y >= 0 for one in tasks]
    logits = [one.logits[here] for one, here in zip(tasks, there, strict=True)]
    y = [one.y[here] for one, here in zip(tasks, there, strict=True)]
    kinds, shown = [(size.ways, size.shots) for size, _, _ in found], [names for _, _, names in found]
    queries = int(torch.tensor([float(len(one)) for one in y]).median())
    estimator = fitted_estimator(features, [one.accuracy for one in tasks], queries, own, kinds, classes, shown)
    temperature = fitted_temperature(features, logits, y)
    missing = [
        -own_logit((part / temperature(at).exp()).log_softmax(1)).gather(1, truth[:, None])[:, 0]
        for part, at, truth in zip(logits, features, y, strict=True)
    ]
    count = sum(map(len, y))
    sets = fitted_quantiles(features, missing, _supported(count), own)
    ways, shots = ([round(float(at[i].exp()), 6) for at in features] for i in (0, 1))
    mixed = [i for i, here in enumerate(there) if bool(here.any()) and bool((~here).any())]
    known = alarms = None
    if len(mixed) >= LEAST:
        proofs = [tasks[i].evidence for i in mixed]
        near, which = [tasks[i].familiar for i in mixed], [there[i] for i in mixed]
        known = fitted_unknown(proofs, near, which)
        said = [known(seen_by(one.evidence, one.familiar[here])) for one, here in zip(tasks, there, strict=True)]
        for fit, held in crossed(len(mixed), _PARTS, own):  # a line says more of what it was fitted to than of others
            other = fitted_unknown(*([part[i] for i in fit.tolist()] for part in (proofs, near, which)))
            for i in held.tolist():
                said[mixed[i]] = other(seen_by(proofs[i], near[i][which[i]]))
        rates = [rate for rate in _ALARMS if count * rate + _EDGE >= NEEDED]
        alarms = fitted_quantiles(features, said, rates, own)
    return Calibration(estimator, temperature, sets, known, alarms, (min(ways), max(ways)), (min(shots), max(shots)))


def own_logit(log_probabilities: Tensor) -> Tensor:
    """log p − log (1 − p) of each class, (m, N), from the logarithms of probabilities: finite for all."""
    p = log_probabilities.double()
    return p - torch.log((-torch.expm1(p)).clamp(min=1e-12))
