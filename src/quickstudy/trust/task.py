"""Trust of one model: what was fitted over tasks, with what the support set of this one says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.episode import Examples, Features, Params, State, leaves
from quickstudy.errors import ConfigError
from quickstudy.learners import Learner
from quickstudy.targets.answers.base import Answer
from quickstudy.targets.distribution import Distribution
from quickstudy.targets.units import Units
from quickstudy.trust.base import Calibration, Trust
from quickstudy.trust.estimate import Accuracy, overruled
from quickstudy.trust.evidence import LEFT_OUT, Evidence, evidence, folds_of, left_out
from quickstudy.trust.familiar import familiar, products
from quickstudy.trust.fit import own_logit
from quickstudy.trust.heard import Asked, Heard
from quickstudy.trust.intervals import IntervalTrust, residuals
from quickstudy.trust.pixels import PixelTrust, own_features
from quickstudy.trust.quantiles import require_level
from quickstudy.trust.unknown import seen_by

MOST = 300
"""Examples of a task, of learners that read all of them anew for each part that is left out."""


class Judged(NamedTuple):
    """Of m inputs. logits: (m, N) over the temperature. known: (m,) the probability that an input is of one of the
    classes, where half of all are; None where nothing tells. accepted: (m,) bool, at the rate of false alarms that was
    asked for. inside: (m, N) bool, the classes of the set with the coverage that was asked for, the likeliest at least.
    """

    logits: Tensor
    known: Tensor | None
    accepted: Tensor | None
    inside: Tensor | None


@dataclass(frozen=True, eq=False)
class TaskTrust:
    """trust: of the run. evidence: of the task. support: its examples as embeddings, as the learner compares them with
    those of inputs; None from learners that have none."""

    trust: Trust
    evidence: Evidence
    support: Examples | None

    @property
    def calibration(self) -> Calibration:
        """What holds for tasks like this one. ConfigError where there were none."""
        found = self.trust.several if self.evidence.several else self.trust.single
        if found is None:
            kind = "with several examples of a class" if self.evidence.several else "with one example of each class"
            raise ConfigError(
                f"No validation task was {kind}, as this one is, so nothing tells how far its answers can be believed. "
                "Give examples as in training."
            )
        return found

    @property
    def temperature(self) -> Tensor:
        """What logits are divided by, so that probabilities are as right as they say: a scalar, float64."""
        return self.calibration.temperature(self.evidence.features).exp()

    def estimate(self, level: float = 0.9, queries: float | None = None) -> Accuracy:
        """How often the model is right, with an interval that holds with probability `level`, over tasks.

        queries: among how many new inputs; infinity for ever more, so that chance plays no part; as many as validation
        tasks had, if not given.
        """
        at = self.calibration
        ways, shots = (math.exp(float(self.evidence.features[i])) for i in (0, 1))
        notes = (
            []
            if self.evidence.several
            else ["one example of a class shows no spread, so that this rests on what such tasks were like"]
        )
        for name, here, (least, most) in (("classes", ways, at.ways), ("examples of a class", shots, at.shots)):
            if not 0.999 * least <= here <= 1.001 * most:
                there = f"{least:g} to {most:g}" if least < most else f"{most:g}"
                notes.append(f"it has {here:.3g} {name}, and validation tasks had {there}")
        features = self.evidence.features
        said = at.estimator.at(features, level, "; ".join(notes), queries)
        return overruled(said, at.estimator.mean, LEFT_OUT, features) if self.evidence.several else said

    def judge(
        self, logits: Tensor, z: Features, coverage: float | None = None, false_alarms: float | None = None
    ) -> Judged:
        """What to believe of inputs with these logits (m, N), whose embeddings, as the learner compares them, are z.

        coverage: the share of inputs whose set holds their class. false_alarms: the share of inputs of the classes that
        are taken for others. Both hold over tasks like those of validation. ConfigError for what these cannot support.
        """
        by = None if self.support is None else products(self.support, z, self.trust.space)
        return self.judged(logits, familiar(logits, self._support_for(logits), by), coverage, false_alarms)

    def judged(
        self, logits: Tensor, near: Tensor, coverage: float | None = None, false_alarms: float | None = None
    ) -> Judged:
        """`judge` of inputs that are so `familiar` (m, J)."""
        at, features = self.calibration, self.evidence.features
        tempered = logits.double() / self.temperature
        logit = None if at.known is None else at.known(seen_by(self.evidence.to(logits.device), near))
        accepted = inside = None
        if false_alarms is not None:
            if logit is None or at.alarms is None:
                raise ConfigError(
                    "No rate of false alarms can be promised: the validation tasks had too few classes to keep some "
                    "from being shown. Hold out more classes."
                )
            require_level("rate of false alarms", false_alarms, 1 - false_alarms, at.alarms)
            accepted = logit >= at.alarms.at(false_alarms, features).to(logit.device)
        if coverage is not None:
            require_level("coverage", coverage, coverage, at.sets)
            inside = -own_logit(tempered.log_softmax(1)) <= at.sets.at(coverage, features).to(logits.device)
            inside = inside.scatter(1, tempered.argmax(1, keepdim=True), True)
        known = None if logit is None else logit.sigmoid()
        return Judged(tempered.to(logits.dtype), known, accepted, inside)

    def _support_for(self, logits: Tensor) -> Examples:
        if self.support is not None:
            return self.support
        nothing = torch.zeros(0, dtype=torch.int64, device=logits.device)
        return Examples(nothing, nothing, nothing.bool())

    def heard(
        self, asked: Asked, x: Features, coverage: float | None = None, false_alarms: float | None = None
    ) -> Heard:
        """What to believe of what a model says of features x; as `judge`."""
        logits, z = asked.embedded(x)
        tempered, known, accepted, inside = self.judge(logits, z, coverage, false_alarms)
        return Heard(Distribution(tempered), logits, known, accepted, inside)

    def completed(self, answer: Answer, heard: Heard, units: Units | None, coverage: float | None) -> Answer:
        """The answer with how far it can be believed. heard: of all of its inputs."""
        return answer.believed(heard.known, heard.accepted, heard.inside, coverage)

    @property
    def compared(self) -> Tensor | None:
        """The support examples (n, D) as the learner compares them; None where nothing does."""
        return None if self.support is None else leaves(self.support.x)[0]

    def facts(self, level: float, units: Units | None) -> dict[str, Any]:
        """What who reads an export must know, as plain data. level: of the interval of the estimate. units: of labels,
        if not the user's own."""
        found: dict[str, Any] = {"temperature": float(self.temperature)}
        alarms = self.calibration.alarms
        if alarms is not None and self.calibration.known is not None:
            least = {f"{rate:g}": alarms.at(rate, self.evidence.features) for rate in self.trust.rates}
            found["known_least"] = {rate: float(at.sigmoid()) for rate, at in least.items()}
        try:
            said = self.estimate(level)
        except ConfigError as error:  # too few tasks for this level
            return found | {"estimate": {"why": str(error)}}
        ends = {"mean": said.mean, "low": said.low, "high": said.high, "level": level}
        return found | {"estimate": {**ends, "tasks": said.tasks, "note": said.note}}

    def tensors(self) -> State:
        """What is stored with the model, beside the JSON of `trust`."""
        held = {"features": self.evidence.features, "strange": self.evidence.strange}
        if self.evidence.several:
            held["known"] = self.evidence.known
        if self.support is not None:
            held |= {"z": leaves(self.support.x)[0], "y": self.support.y}
        return held


AnyTrust = TaskTrust | IntervalTrust | PixelTrust


def restored(facts: Mapping[str, Any], tensors: State) -> AnyTrust:
    """The inverse of `tensors` and `trust.to_json`."""
    trust = Trust.from_json(facts, "The trust of the model")
    if trust.intervals is not None:
        unknown = torch.tensor(torch.nan, dtype=torch.float64)
        return IntervalTrust(trust, tensors["features"].cpu(), tensors.get("scale", unknown).cpu())
    if trust.pixels is not None:
        return PixelTrust(trust, tensors["features"].cpu())
    strange, several = tensors["strange"].cpu(), "known" in tensors
    known = tensors["known"].cpu() if several else torch.full_like(strange, torch.nan)
    support = None
    if "z" in tensors:
        y = tensors["y"]
        support = Examples(tensors["z"], y, torch.ones(len(y), dtype=torch.bool, device=y.device))
    return TaskTrust(trust, Evidence(tensors["features"].cpu(), known, strange, several), support)


def task_trust(
    trust: Trust, learner: Learner, params: Params, support: Examples, z: Examples | None = None
) -> AnyTrust:
    """Trust of one task from its support set (n, …). learner: after training, at this task's spec. z: the support set
    with embeddings as its x, where the learner has `embedded` and they are there already. ConfigError where no
    validation task was of its kind, or where it has more than `MOST` examples that are read anew each time."""
    count = int(support.mask.sum())
    if learner.embedded is None and trust.pixels is None and count > MOST:
        raise ConfigError(
            f"its {count} examples are too many to read them again and again without some; that is done for up to "
            f"{MOST}. With so many, set some aside and measure: model.score(records, labels)."
        )
    if trust.intervals is not None:
        with torch.no_grad():
            proof = residuals(learner, params, support, max(2, min(trust.folds, count)))
        return IntervalTrust(trust, proof.features.cpu(), proof.scale.cpu())
    if trust.pixels is not None:
        with torch.no_grad():
            return PixelTrust(trust, own_features(learner, params, support).cpu())
    return _of_classes(trust, learner, params, support, z)


def trust_or_why(
    trust: Trust, learner: Learner, params: Params, support: Examples, z: Examples | None = None
) -> tuple[AnyTrust | None, str]:
    """`task_trust`, or None and why there is none."""
    try:
        return task_trust(trust, learner, params, support, z), ""
    except ConfigError as error:
        return None, str(error)


def _of_classes(trust: Trust, learner: Learner, params: Params, support: Examples, z: Examples | None) -> TaskTrust:
    with torch.no_grad():
        after = learner.embedded
        if after is not None:
            support = support._replace(x=learner.embed(params, support.x)) if z is None else z
        most = folds_of(support, trust.folds)
        left = left_out(after or learner, params, support, most, trust.strangers, trust.space)
        proof = evidence(left, support).to("cpu")
    _ = TaskTrust(trust, proof, None).calibration
    kept = None
    if after is not None:
        compared = leaves(after.compared(params, support.x))[0]
        kept = Examples(*(part[support.mask] for part in (compared, support.y, support.mask)))
    return TaskTrust(trust, proof, kept)
