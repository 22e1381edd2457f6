"""The Open Inference Protocol, version 2, as KServe and Triton speak it: tensors in JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from fastapi import APIRouter, Request, Response
from torch import Tensor

from quickstudy.deploy.model import Model
from quickstudy.episode import Features, named
from quickstudy.errors import DataError, ShapeError
from quickstudy.formats.records import Stored
from quickstudy.serve import learn, protocol
from quickstudy.serve.api import answered, sent
from quickstudy.serve.api import refusals as refusals_of
from quickstudy.serve.bodies import parsed, require_few
from quickstudy.serve.books import Live
from quickstudy.serve.front import BODY, OWNER
from quickstudy.serve.refusal import Refused, too_few
from quickstudy.serve.service import Service
from quickstudy.version import __version__

_TYPES = {
    "BOOL": torch.bool, "UINT8": torch.uint8, "INT8": torch.int8, "INT16": torch.int16, "INT32": torch.int32,
    "INT64": torch.int64, "FP32": torch.float32, "FP64": torch.float64,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _TYPES.items()}
_PLATFORM = "quickstudy"


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What may go wrong, as the protocol tells it."""
    return refusals_of(*statuses, told=protocol.Failure)


def routes(service: Service) -> APIRouter:
    """All of them."""
    router = APIRouter(prefix="/v2", tags=["open inference"])

    @router.get("", responses={200: {"model": protocol.Server}})
    async def server() -> Response:
        """What the server is."""
        return answered({"name": "quickstudy", "version": __version__, "extensions": []})

    @router.get("/health/live", responses={200: {"model": protocol.Live}})
    async def alive() -> Response:
        """Whether the server is alive."""
        return answered({"live": True})

    @router.get("/health/ready", responses={200: {"model": protocol.Ready}})
    async def ready() -> Response:
        """Whether the server can be asked."""
        return answered({"ready": True})

    @router.get("/models/{model}", responses={200: {"model": protocol.Metadata}, **refusals(404, 409, 422)})
    async def metadata(request: Request, model: str) -> Response:
        """What goes into a model and comes out."""
        live = await service.live(request.scope[OWNER], model)
        return answered(await service.work.do(lambda: described(live)))

    @router.get("/models/{model}/ready", responses={200: {"model": protocol.NamedReady}, **refusals(404, 409)})
    async def model_ready(request: Request, model: str) -> Response:
        """Whether a model can be asked: it has learned enough classes."""
        live = await service.live(request.scope[OWNER], model)
        if live.model is None and not learn.learnable(live.start, live.study):
            raise too_few(len(live.study.names))  # clients look at the status alone
        return answered({"name": model, "ready": True})

    @router.post(
        "/models/{model}/infer", responses={200: {"model": protocol.Inferred}, **refusals(400, 404, 409, 413, 422)},
        openapi_extra=sent(("application/json", protocol.Inference)),
    )  # fmt: skip
    async def infer(request: Request, model: str) -> Response:
        """What a model says of tensors: of those that its format stores, or of features."""
        told = parsed(request.scope[BODY])
        live = await service.live(request.scope[OWNER], model)
        tensors, wanted = await asyncio.to_thread(inputs, told), outputs(told)
        require_few(max(len(one) if one.dim() else 0 for one in tensors.values()), service.limits.records)
        id = told.get("id")
        if id is not None and not isinstance(id, str):
            raise DataError(f"id is a text, found {type(id).__name__}. Leave it out, or send a text.")
        if live.start.format.labels_itself:
            raise Refused(422, "not_usable", "Forecasts are asked for at /api/models/{model}/ask, with steps.")

        def said() -> dict[str, Any]:
            return learn.inferred(live, fitting(learn.ready(live), tensors))

        found = await service.work.do(said)
        if strange := [name for name in wanted if name not in found]:
            raise DataError(f"There is no output {strange[0]!r:.60}. There are {', '.join(found)}.")
        outs = [_output(name, one, live) for name, one in found.items() if not wanted or name in wanted]
        version = str(len(live.study.past))
        answer = {"model_name": model, "model_version": version, "outputs": outs}
        return answered(answer | ({} if id is None else {"id": id}))

    return router


def described(live: Live) -> dict[str, Any]:
    """Metadata of a model. Where it has not learned enough yet, only of what goes in."""
    format = live.start.format if live.model is None else live.model.spec.format
    if format.labels_itself:
        told = []
    else:
        names = list(format.layout)
        parts = named(format.trial(1)) if learn.learnable(live.start, live.study) or live.model is not None else {}
        told = [
            {"name": name or names[0], "datatype": _NAMES[one.dtype], "shape": [-1, *one.shape[1:]]}
            for name, one in parts.items()
        ]
    able = live.model is not None or learn.learnable(live.start, live.study)
    return {
        "name": live.id, "versions": [str(len(live.study.past))], "platform": _PLATFORM, "inputs": told,
        "outputs": _outputs(live) if able else [],
    }  # fmt: skip


def _outputs(live: Live) -> list[dict[str, Any]]:
    """What is said of one input of nothing."""
    x = learn.ready(live).spec.format.trial(1)
    told = (_output(name, one, live) for name, one in learn.inferred(live, x).items())
    return [{"name": one["name"], "datatype": one["datatype"], "shape": [-1, *one["shape"][1:]]} for one in told]


def _output(name: str, one: Any, live: Live) -> dict[str, Any]:
    tensor = one if isinstance(one, Tensor) else torch.tensor(one, dtype=torch.float32)
    told = {
        "name": name, "shape": list(tensor.shape), "datatype": "FP32", "data": tensor.float().flatten().tolist()
    }  # fmt: skip
    names = () if live.model is None or tensor.dim() != 2 else live.model.names
    return told | ({"parameters": {"classes": list(names)}} if names else {})


def outputs(told: dict[str, Any]) -> list[str]:
    """The names of the outputs that are asked for; [] for all."""
    wanted = told.get("outputs")
    if wanted is None:
        return []
    if not isinstance(wanted, list) or not all(isinstance(o, dict) and isinstance(o.get("name"), str) for o in wanted):
        raise DataError("outputs is a list of objects with a name. Leave it out for all.")
    return [one["name"] for one in wanted]


def inputs(told: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a question by their names. DataError or ShapeError for what is none."""
    given = told.get("inputs")
    if not isinstance(given, list) or not given:
        raise DataError("inputs is a list of tensors: objects with name, shape, datatype and data. Send one at least.")
    found: dict[str, Tensor] = {}
    for one in given:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise DataError("Each of the inputs is an object with name, shape, datatype and data.")
        if one["name"] in found:
            raise DataError(f"Two inputs are called {one['name']!r:.60}. Send each once.")
        found[one["name"]] = _tensor(one)
    return found


def _tensor(one: dict[str, Any]) -> Tensor:
    name, shape, kind, data = (one.get(part) for part in ("name", "shape", "datatype", "data"))
    if not isinstance(kind, str) or kind not in _TYPES:
        raise DataError(f"The input {name!r:.60} has the datatype {kind!r:.60}. Known: {', '.join(_TYPES)}.")
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < 1 << 31 for n in shape) or len(shape) > 8:
        raise ShapeError(f"The shape of the input {name!r:.60} is a list of whole numbers, found {shape!r:.60}.")
    numbers: list[Any] = []
    _flatten(data, numbers, 9)
    if len(numbers) != prod(shape):
        raise ShapeError(
            f"The input {name!r:.60} has {len(numbers)} numbers, and the shape {shape} holds {prod(shape)}. Send "
            "as many."
        )
    if not all(isinstance(number, bool | int | float) for number in numbers):
        raise DataError(f"The input {name!r:.60} holds other things than numbers. Send numbers.")
    if wrong := _unlike(kind, numbers):
        raise DataError(f"The input {name!r:.60} holds {wrong[0]!r:.60}, which is no {kind}. Send another datatype.")
    try:
        return torch.tensor(numbers, dtype=_TYPES[kind]).reshape(shape)
    except (RuntimeError, OverflowError, TypeError, ValueError) as error:
        raise DataError(f"The input {name!r:.60} holds numbers that are no {kind} ({str(error)[:80]}).") from error


def _unlike(kind: str, numbers: list[Any]) -> list[Any]:
    """The numbers that the datatype does not have, and that would become others in it."""
    dtype = _TYPES[kind]
    if dtype.is_floating_point:
        return []
    least, most = (0, 1) if dtype == torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    return [number for number in numbers if not least <= number <= most or number != int(number)]


def _flatten(data: Any, numbers: list[Any], depth: int) -> None:
    if not isinstance(data, list) or not depth:
        raise DataError(f"The data of an input is a list of numbers, found {type(data).__name__}.")
    for one in data:
        if isinstance(one, list):
            _flatten(one, numbers, depth - 1)
        else:
            numbers.append(one)


def fitting(model: Model, tensors: dict[str, Tensor]) -> Features:
    """Tensors as what the model's format stores, or as features. ShapeError or DataError for others."""
    format = model.spec.format
    names = list(named(format.trial(1))) or list(format.layout)
    expected = [name or next(iter(format.layout)) for name in names]
    if tensors.keys() != set(expected):
        raise ShapeError(f"The inputs are {', '.join(tensors)}, expected {', '.join(expected)}. Send these.")
    counts: Sequence[int] = [len(one) if one.dim() else 0 for one in tensors.values()]
    if len(set(counts)) != 1 or not counts[0]:
        raise ShapeError(f"The inputs have {counts} examples. The first axis is that of examples, one at least.")
    x: Features = next(iter(tensors.values())) if len(expected) == 1 else tensors
    stored: Stored = format.query(x)
    format.check(format.features(stored.x, model.fitted), 1, "x")
    return stored.x
