"""What a model is and what it says, as JSON."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from quickstudy.deploy.answering import Told
from quickstudy.deploy.model import Model
from quickstudy.episode import map_features
from quickstudy.errors import QuickstudyError
from quickstudy.formats.drawing import Picture
from quickstudy.serve.books import Live
from quickstudy.serve.refusal import not_found
from quickstudy.serve.study import Example

_NEAREST = 3
_SHOWN = 200  # characters of a record


def state(live: Live) -> dict[str, Any]:
    """What a model is made of, and how good it thinks it is."""
    study, fixed = live.study, live.start.asked is not None and live.id == live.start.name
    model = live.model
    names = list(model.names) if model is not None and fixed else study.names if live.start.spec.target.relabels else []
    found: dict[str, Any] = {
        "id": live.id,
        "name": study.facts["name"],
        "start": live.start.name,
        "fixed": fixed,
        "names": names,
        "examples": [example(live, one) for one in study.examples],
        "versions": len(study.past),
    }
    if live.estimate is None and model is not None:
        live.estimate = estimate(model)
    if live.estimate is not None:
        found["estimate"] = live.estimate
    return found


def estimate(model: Model) -> dict[str, Any]:
    """How often a model is right: mean and ends of an interval; or why nobody knows."""
    if not model.spec.target.calibrates:
        return {"why": f"How often it is right is told of classes, and this tells {model.spec.target}."}
    try:
        said = model.estimate
    except QuickstudyError as error:
        return {"why": str(error)}
    return {"mean": said.mean, "low": said.low, "high": said.high, "level": said.level, "note": said.note}


def example(live: Live, one: Example) -> dict[str, Any]:
    """One example: with the address of its picture, if it is one, or what it says."""
    told: dict[str, Any] = {"id": one.id, "label": one.label}
    if one.raw is not None:
        return told | {"text": written(one.raw)}
    if live.start.format.medium == "image":
        told["picture"] = f"/api/models/{live.id}/examples/{one.id}/picture"
    return told


def written(raw: Any) -> str:
    """A record that came as JSON, in a line."""
    if isinstance(raw, Mapping):
        raw = ", ".join(f"{name} {'' if cell is None else cell}".strip() for name, cell in raw.items())
    elif isinstance(raw, list):
        raw = ", ".join(f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in raw[:_SHOWN])
    return raw if len(raw) <= _SHOWN else f"{raw[:_SHOWN]}…"


def picture(live: Live, id: str) -> bytes:
    """An example that is a picture, as a PNG file."""
    from PIL import Image

    one, format = live.study.example(id), live.start.format
    drawn = None
    if one.raw is None:
        drawn = format.draw(map_features(lambda leaf: leaf[0], format.features(one.x())))
    if not isinstance(drawn, Picture):
        raise not_found("picture")
    pixels = drawn.pixels.permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def answers(live: Live, told: Told) -> list[dict[str, Any]]:
    """What is said of each of n records."""
    answer, _, near = told
    names, model = live.study.live, live.model
    columns = answer.table()
    assert model is not None
    if not model.spec.target.relabels:
        return _numbers(columns, len(answer))
    refused = answer.refused
    tables = _probabilities(answer.prediction.exp())
    known = columns.get("known")
    nearest = _nearest(near, names, live)
    sets = getattr(answer, "sets") if "set" in columns else None  # noqa: B009
    said = []
    for i, (label, row) in enumerate(zip(columns["class"], tables, strict=True)):
        one: dict[str, Any] = {"label": label, "probabilities": dict(zip(model.names, row, strict=True))}
        if known is not None:
            one["known"] = round(known[i], 6)
        if refused is not None:
            one["refused"] = bool(refused[i])
        if sets is not None:
            one["set"] = list(sets[i])
        if nearest is not None:
            one["nearest"] = nearest[i]
        said.append(one)
    return said


def _probabilities(p: Tensor) -> list[list[float]]:
    return [[round(one, 6) for one in row] for row in p.tolist()]


def _nearest(near: Tensor | None, ids: Sequence[str], live: Live) -> list[list[dict[str, Any]]] | None:
    """The support examples that are most like each record, by their ids."""
    if near is None or near.shape[1] != len(ids):
        return None
    top = near.topk(min(_NEAREST, near.shape[1]), dim=1)
    return [
        [{"id": ids[i], "similarity": round(value, 4)} for value, i in zip(values, places, strict=True)]
        for values, places in zip(top.values.tolist(), top.indices.tolist(), strict=True)
    ]


def _numbers(columns: Mapping[str, list[Any]], count: int) -> list[dict[str, Any]]:
    """Numbers: the value, its spread, and the ends of an interval, as far as they are told."""
    found = []
    for i in range(count):
        row = {name.partition(" ")[0]: cells[i] for name, cells in columns.items()}
        found.append({name: plain(one) for name, one in row.items()})
    return found


def plain(value: Any) -> Any:
    """Numbers that JSON has; None for others."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, torch.Tensor):
        return plain(value.tolist())
    return value
