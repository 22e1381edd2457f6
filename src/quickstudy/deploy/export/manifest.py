"""model.json: what the inputs and outputs of exported graphs mean, and how records are read. See docs/export.md."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from quickstudy.deploy.export.believed import LEVEL
from quickstudy.deploy.export.subject import Subject
from quickstudy.version import __version__

VERSION = 1
NAME = "model.json"


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
    task, run = subject.task_trust, subject.trust
    of_classes = run is not None and (run.single is not None or run.several is not None)
    found = {"rates": list(run.rates), "level": LEVEL} if run is not None and of_classes else {}
    if task is not None:
        found |= task.facts(LEVEL, subject.spec.format.units(subject.fitted))
    return found or None
