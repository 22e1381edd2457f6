"""The application of one process: routes, what goes wrong in them, and what stands before."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import torch
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from quickstudy.errors import QuickstudyError, lacks_memory
from quickstudy.serve import api, infer, page, protocol, schemas
from quickstudy.serve.front import Front
from quickstudy.serve.limits import Settings
from quickstudy.serve.memory import steady
from quickstudy.serve.meters import Meters
from quickstudy.serve.refusal import Refused, refusal
from quickstudy.serve.service import Service
from quickstudy.version import __version__

SETTINGS = "QUICKSTUDY_SERVE"
"""In the environment: the settings, for processes that are started."""
_log = logging.getLogger("quickstudy")
_ABOUT = (
    "Models that are made of a few examples, grow, forget, and are asked. Changes are on the disk before they are "
    "answered."
)


def application(settings: Settings, started: Callable[[], None] = lambda: None) -> Front:
    """The ASGI application. started: called once it can be asked."""
    torch.set_num_threads(1)
    steady()
    service, meters = Service(settings), Meters()
    service.work.sizes = lambda count: meters.together.observe(count)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        for log in (_log, logging.getLogger("python_multipart")):
            log.setLevel(logging.ERROR)  # what clients send is their concern, and not for this log
        started()
        yield
        await service.finished()

    app = FastAPI(
        title="quickstudy", version=__version__, description=_ABOUT, lifespan=life, docs_url=None, redoc_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    app.include_router(api.routes(service))
    app.include_router(infer.routes(service))

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        meters.held.set(len(service.books))
        text, kind = meters.text()
        return Response(text, media_type=kind)

    app.include_router(page.routes())

    def refused(request: Request, error: Refused) -> Response:
        meters.refusals.labels(error.code).inc()
        answer = api.answered(error.to_json(request.url.path), error.status)
        if error.after is not None:
            answer.headers["retry-after"] = str(error.after)
        return answer

    @app.exception_handler(QuickstudyError)
    async def ours(request: Request, error: QuickstudyError) -> Response:
        return refused(request, refusal(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        what = ".".join(map(str, first.get("loc", ())))
        return refused(request, Refused(422, "invalid", f"{what}: {first.get('msg', 'it is wrong')}. Correct it."))

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            answer = refused(request, Refused(405, "method", f"{request.method} is not done here. See /openapi.json."))
            answer.headers.update(error.headers or {})
            return answer
        return refused(request, Refused(error.status_code, "not_found", f"{error.detail}. See /openapi.json."))

    @app.exception_handler(OSError)
    async def of_disk(request: Request, error: OSError) -> Response:
        _log.error("A model could not be read or written: %s", error)
        return refused(request, Refused(503, "disk", f"The server cannot write what it is told: {error.strerror}.", 30))

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> Response:
        if lacks_memory(error):
            return refused(
                request, Refused(503, "memory", "The server has not enough memory for this now. Send less.", 5)
            )
        _log.exception("A request could not be answered", exc_info=error)
        return refused(request, Refused(500, "internal", "The server has made a mistake; it is logged."))

    _complete(app)
    return Front(app, settings, meters)


def _complete(app: FastAPI) -> None:
    """Let the schema name the bodies that routes read by themselves."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        told: dict[str, Any] = made()
        known = told.setdefault("components", {}).setdefault("schemas", {})
        bodies = (
            schemas.Sent,
            schemas.Form,
            schemas.Asked,
            schemas.AskedForm,
            schemas.Made,
            schemas.MadeForm,
            protocol.Inference,
        )
        for kind in (*bodies, schemas.Named):
            schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
            for name, one in schema.pop("$defs", {}).items():
                known.setdefault(name, one)
            known[kind.__name__] = schema
        for name in ("HTTPValidationError", "ValidationError"):
            known.pop(name, None)
        for path, methods in told["paths"].items():
            name = "Failure" if path.startswith("/v2") else "Refusal"
            for route in methods.values():
                if "422" in route["responses"]:
                    route["responses"]["422"]["content"] = {
                        "application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}
                    }
        return told

    app.openapi = openapi


def from_environment() -> Front:
    """The application of a process that was started by another; parts of the user's own are imported first."""
    settings = Settings.of_text(os.environ[SETTINGS])
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    for name in settings.imports:
        own_part(name)
    return application(settings)


def _end_with(parent: int) -> None:
    """End this process once the one that started it is gone, however it went."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def own_part(name: str) -> None:
    """Import a file or module of the user's own, which registers parts."""
    import importlib
    from pathlib import Path

    from quickstudy.modules import executed

    path = Path(name)
    if path.suffix == ".py":
        executed(path, path.stem.replace("-", "_"))
    else:
        importlib.import_module(name)
