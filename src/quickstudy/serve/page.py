"""The files of the page, which lie in the package. All are known from the start: no request names a path."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from fastapi import APIRouter, Request, Response

from quickstudy.serve.refusal import Refused

_TYPES = {
    "html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8", "json": "application/json", "svg": "image/svg+xml", "png": "image/png",
    "ico": "image/x-icon", "wasm": "application/wasm", "webmanifest": "application/manifest+json",
}  # fmt: skip


class File(NamedTuple):
    """One of them. tag: by which a browser knows that it has it already."""

    data: bytes
    kind: str
    tag: str


def found() -> dict[str, File]:
    """All of them, by their paths from the page."""
    root = files("quickstudy") / "web"
    return dict(_under(root, "")) if root.is_dir() else {}


def _under(folder: Traversable, path: str) -> Iterator[tuple[str, File]]:
    for one in folder.iterdir():
        if one.is_dir():
            yield from _under(one, f"{path}{one.name}/")
        elif (kind := _TYPES.get(one.name.rpartition(".")[2])) is not None:
            data = one.read_bytes()
            yield f"{path}{one.name}", File(data, kind, f'"{hashlib.sha256(data).hexdigest()[:24]}"')


def routes() -> APIRouter:
    """The page at /, its files beside it and under /static/."""
    router, held = APIRouter(), found()

    def answer(request: Request, path: str) -> Response:
        file = held.get(path)
        if file is None:
            what = "The page is not part of this installation" if path == "index.html" else "There is no such page here"
            raise Refused(404, "not_found", f"{what}. The API is described at /openapi.json.")
        headers = {"etag": file.tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == file.tag:
            return Response(status_code=304, headers=headers)
        return Response(file.data, headers=headers, media_type=file.kind)

    @router.get("/", include_in_schema=False)
    async def index(request: Request) -> Response:
        return answer(request, "index.html")

    @router.get("/static/{path:path}", include_in_schema=False)
    async def static(request: Request, path: str) -> Response:
        return answer(request, path)

    @router.get("/{path:path}", include_in_schema=False)
    async def beside(request: Request, path: str) -> Response:
        return answer(request, path)

    return router
