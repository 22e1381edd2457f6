"""The routes under /api: what the page uses, and anyone who speaks HTTP."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from quickstudy.errors import ShapeError
from quickstudy.formats.received import Most
from quickstudy.serve import downloads, schemas, tell
from quickstudy.serve.bodies import Given, given, parsed, require_known
from quickstudy.serve.front import BODY, OWNER
from quickstudy.serve.refusal import Refused
from quickstudy.serve.service import Service
from quickstudy.serve.starts import Start
from quickstudy.version import __version__

_NAME = 100
_ASKED = {"false_alarms": float, "coverage": float, "steps": int}
_STEPS = 10_000


def answered(told: Any, status: int = 200) -> Response:
    """An answer as JSON."""
    body = json.dumps(tell.plain(told), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(body.encode(errors="replace"), status, media_type="application/json")


def refusals(*statuses: int, told: type[BaseModel] = schemas.Refusal) -> dict[int | str, dict[str, Any]]:
    """What may go wrong, for the schema."""
    return {status: {"model": told} for status in sorted({401, 403, 429, 503, 504, *statuses})}


def sent(*kinds: tuple[str, Any], required: bool = True) -> dict[str, Any]:
    """The bodies that a route takes, for the schema."""
    content = {medium: {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}} for medium, kind in kinds}
    return {"requestBody": {"required": required, "content": content}}


_BOTH = sent(("application/json", schemas.Sent), ("multipart/form-data", schemas.Form))
_ASK = sent(("application/json", schemas.Asked), ("multipart/form-data", schemas.AskedForm))
_MAKE = sent(("application/json", schemas.Made), ("multipart/form-data", schemas.MadeForm))
_BODY = (400, 404, 413, 415, 422)


def routes(service: Service) -> APIRouter:
    """All of them."""
    router, limits = APIRouter(prefix="/api"), service.limits
    most = Most(int(limits.pixels * 1e6), limits.seconds, limits.characters)

    def read(request: Request, start: Start, *fields: str) -> Given:
        several = max(limits.records, limits.examples)
        found = given(request.headers.get("content-type", ""), request.scope[BODY], start.format, most, several)
        require_known(found.further, request.query_params, fields)
        return found

    async def read_for(request: Request, id: str, *fields: str) -> Given:
        return read(request, (await service.live(request.scope[OWNER], id)).start, *fields)

    @router.get("/about", responses={200: {"model": schemas.About}}, tags=["about"])
    async def about() -> Response:
        """What the server can do, and what it allows."""
        told = {one.name: one.about() for one in service.starts.values()}
        return answered(
            {
                **told[service.start.name],
                "server": "quickstudy",
                "version": __version__,
                "token": bool(service.settings.tokens),
                "starts": list(told.values()),
                "downloads": downloads.possible(service.settings.wasm),
                "limits": {name: one for name, one in vars(limits).items() if one is not None},
            }
        )

    @router.get("/models", responses={200: {"model": schemas.Listed}, **refusals()}, tags=["models"])
    async def listed(request: Request) -> Response:
        """All models, the newest first; those that the server was started with before them."""
        return answered({"models": await service.listed(request.scope[OWNER])})

    @router.post(
        "/models", status_code=201, responses={201: {"model": schemas.State}, **refusals(409, *_BODY)}, tags=["models"],
        openapi_extra=_MAKE,
    )  # fmt: skip
    async def make(request: Request) -> Response:
        """A new model: of no example yet, or of those that are sent along."""
        kind, body = request.headers.get("content-type", ""), request.scope[BODY]
        start = service.start_called(_start_in(kind, body))
        found = read(request, start, "start", "name")
        name = found.further.get("name") or start.name
        if not isinstance(name, str) or len(name) > _NAME or not name.isprintable():
            raise Refused(422, "name", f"A model's name has up to {_NAME} characters that can be seen. Choose another.")
        return answered(await service.make(request.scope[OWNER], start, name, found), 201)

    def _start_in(kind: str, body: bytes) -> str | None:
        from quickstudy.serve.bodies import read as read_any

        name = read_any(kind, body).further.get("start") if len(service.starts) > 1 or b"start" in body else None
        if name is not None and not isinstance(name, str):
            raise Refused(422, "start", "start is the name of one of those that /api/about tells.")
        return name

    @router.get(
        "/models/{model}", responses={200: {"model": schemas.State}, **refusals(404, 409, 422)}, tags=["models"]
    )
    async def state(request: Request, model: str) -> Response:
        """What a model is made of, and how good it thinks it is."""
        return answered(await service.state(request.scope[OWNER], model))

    @router.delete(
        "/models/{model}", responses={200: {"model": schemas.Deleted}, **refusals(404, 409)}, tags=["models"]
    )
    async def delete(request: Request, model: str) -> Response:
        """Delete a model and its examples, for good."""
        await service.delete(request.scope[OWNER], model)
        return answered({"id": model})

    @router.post(
        "/models/{model}/examples", responses={200: {"model": schemas.State}, **refusals(409, *_BODY)},
        tags=["changing"], openapi_extra=_BOTH,
    )  # fmt: skip
    async def add(request: Request, model: str) -> Response:
        """Further examples, of classes that the model knows or of new ones."""
        return answered(await service.add(request.scope[OWNER], model, await read_for(request, model)))

    @router.delete(
        "/models/{model}/examples/{example}", responses={200: {"model": schemas.State}, **refusals(404, 409, 422)},
        tags=["changing"],
    )  # fmt: skip
    async def forget(request: Request, model: str, example: str) -> Response:
        """The model as if an example had never been there."""
        return answered(await service.change(request.scope[OWNER], model, lambda study: study.forgetting([example])))

    @router.delete(
        "/models/{model}/classes/{name:path}", responses={200: {"model": schemas.State}, **refusals(404, 409, 422)},
        tags=["changing"],
    )  # fmt: skip
    async def forget_class(request: Request, model: str, name: str) -> Response:
        """The model as if a class had never been there."""
        return answered(await service.change(request.scope[OWNER], model, lambda study: study.without(name)))

    @router.post(
        "/models/{model}/classes/{name:path}", responses={200: {"model": schemas.State}, **refusals(409, *_BODY)},
        tags=["changing"], openapi_extra=sent(("application/json", schemas.Named)),
    )  # fmt: skip
    async def rename(request: Request, model: str, name: str) -> Response:
        """A class under another name."""
        told = parsed(request.scope[BODY])
        return answered(await service.rename(request.scope[OWNER], model, name, told.get("name")))

    @router.post(
        "/models/{model}/undo", responses={200: {"model": schemas.State}, **refusals(404, 409, 422)}, tags=["changing"]
    )
    async def undo(request: Request, model: str) -> Response:
        """The model before its last change."""
        return answered(await service.change(request.scope[OWNER], model, lambda study: study.undoing()))

    @router.post(
        "/models/{model}/ask", responses={200: {"model": schemas.Answers}, **refusals(409, *_BODY)}, tags=["asking"],
        openapi_extra=_ASK,
    )  # fmt: skip
    async def ask(request: Request, model: str) -> Response:
        """What the model says of records."""
        found = await read_for(request, model, *_ASKED)
        return answered({"answers": await service.ask(request.scope[OWNER], model, found, _options(found))})

    @router.post(
        "/models/{model}/score", responses={200: {"model": schemas.Scored}, **refusals(409, *_BODY)}, tags=["asking"],
        openapi_extra=_BOTH,
    )  # fmt: skip
    async def score(request: Request, model: str) -> Response:
        """How good the model is on labelled records that it was not given."""
        found = await read_for(request, model)
        return answered(await service.score(request.scope[OWNER], model, found))

    @router.get(
        "/models/{model}/examples/{example}/picture", tags=["models"],
        responses={200: {"content": {"image/png": {}}, "description": "A PNG file"}, **refusals(404, 409, 422)},
    )  # fmt: skip
    async def picture(request: Request, model: str, example: str) -> Response:
        """An example as the model sees it."""
        live = await service.live(request.scope[OWNER], model)
        png = await service.work.do(lambda: tell.picture(live, example))
        return Response(png, media_type="image/png", headers={"cache-control": "private, max-age=86400, immutable"})

    @router.get(
        "/models/{model}/download", tags=["models"],
        responses={200: {"content": {"application/zip": {}}, "description": "A zip file"}, **refusals(404, 409, 422)},
    )  # fmt: skip
    async def download(request: Request, model: str, to: downloads.To = "model") -> Response:
        """The model to take away: as quickstudy keeps it, as ONNX, or as a folder of web pages."""
        live = await service.live(request.scope[OWNER], model)
        data = await downloads.made(service, live, to)
        name = f'attachment; filename="{to}.zip"'
        return Response(data, media_type="application/zip", headers={"content-disposition": name})

    return router


def _options(found: Given) -> dict[str, Any]:
    """What else is asked: numbers, from JSON or from a form."""
    options: dict[str, Any] = {}
    for name, kind in _ASKED.items():
        given = found.further.get(name)
        if given is None:
            continue
        try:
            if isinstance(given, bool):
                raise ValueError
            value = kind(given)
            if value != float(given) or not 0 < value < (_STEPS if kind is int else 1) + (kind is int):
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            span = f"a whole number from 1 to {_STEPS}" if kind is int else "a number between 0 and 1"
            raise ShapeError(f"{name} is {span}, found {given!r:.60}. Leave it out, or choose another.") from None
        options[name] = value
    return options
