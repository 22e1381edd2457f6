"""model.json: what the inputs and outputs of exported graphs mean, and how records are read. See docs/export.md."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from quickstudy.deploy.export.believed import LEVEL, rates
from quickstudy.deploy.export.subject import Subject
from quickstudy.errors import ConfigError
from quickstudy.trust.intervals import IntervalTrust
from quickstudy.trust.pixels import PixelTrust
from quickstudy.trust.task import TaskTrust
from quickstudy.version import __version__

VERSION = 1
NAME = "model.json"
_COVERAGES = ("0.8", "0.9", "0.95")


def manifest(
    subject: Subject, to: str, graphs: Mapping[str, Any], reading: Mapping[str, Any], opset: int
) -> dict[str, Any]:
    """Plain data. graphs: of each what `Program.described` says, and its file."""
    spec = subject.spec.to_json()
    needed = ("torch", "onnx", "onnxscript", "onnxruntime") if opset else ("torch",)
    return {
        "version": VERSION,
        "quickstudy": __version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "to": to,
        **({"opset": opset} if opset else {}),
        "packages": {name: importlib.metadata.version(name) for name in needed},
        "name": subject.name,
        "learner": {"name": subject.config.learner.name, "options": dict(subject.config.learner.options)},
        "format": _without_long(spec["format"]),
        "target": spec["target"],
        "says": spec["target"]["name"],
        "names": list(subject.names or getattr(subject.spec.target, "names", ())),
        "units": subject.spec.target.units,
        "transductive": subject.learner.transductive,
        "graphs": dict(graphs),
        "reading": dict(reading),
        "trust": _trust(subject),
        "why_no_trust": subject.why,
    }


def _without_long(format: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a format, without what stands under `reading` and is long: a tokenizer, a schema."""
    options = {n: v for n, v in format["options"].items() if n not in ("tokenizer", "schema")}
    return {**format, "options": options}


def _trust(subject: Subject) -> dict[str, Any] | None:
    trust, run = subject.task_trust, subject.trust
    found: dict[str, Any] = {}
    if run is not None and (run.single is not None or run.several is not None):
        found |= {"rates": list(rates(run)), "level": LEVEL}
    if isinstance(trust, TaskTrust):
        found["temperature"] = float(trust.temperature)
        alarms = trust.calibration.alarms
        if alarms is not None and trust.calibration.known is not None:
            least = {f"{rate:g}": alarms.at(rate, trust.evidence.features) for rate in rates(trust.trust)}
            found["known_least"] = {rate: float(at.sigmoid()) for rate, at in least.items()}
        try:
            said = trust.estimate(LEVEL)
            ends = {"mean": said.mean, "low": said.low, "high": said.high, "level": LEVEL}
            found["estimate"] = {**ends, "tasks": said.tasks, "note": said.note}
        except ConfigError as error:  # too few tasks for this level
            found["estimate"] = {"why": str(error)}
    elif isinstance(trust, PixelTrust):
        found["temperature"] = trust.temperature
    elif isinstance(trust, IntervalTrust):
        found["intervals"] = _intervals(subject, trust)
    return found or None


def _intervals(subject: Subject, trust: IntervalTrust) -> dict[str, Any]:
    """How far intervals reach at each coverage, in multiples of a scale that is a number or the spread that is said."""
    at = trust.trust.intervals
    assert at is not None
    units = subject.spec.format.units(subject.fitted)
    scale = trust.scale if units is None else trust.scale * units.spread.to(trust.scale)
    levels = [
        c for c in _COVERAGES if at.distances.levels and at.distances.levels[0] <= float(c) <= at.distances.levels[-1]
    ]
    reach = {c: float(at.distances.at(float(c), trust.features).exp()) for c in levels}
    known = not bool(trust.scale.isnan().any())
    return {"reach": reach if known else {}, "scale": scale.tolist() if known else None, "growth": list(at.growth)}
