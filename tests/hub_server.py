"""A server that answers as the Hugging Face hub does, for one data set or model; for tests."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

_COMMIT = "a" * 40


def _handler(name: str, files: dict[str, bytes], asked: list[str], models: bool) -> type[BaseHTTPRequestHandler]:
    here, api = (f"/{name}", f"/api/models/{name}") if models else (f"/datasets/{name}", f"/api/datasets/{name}")

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            asked.append(f"{self.command} {self.path}")

        def answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def entry(self, path: str) -> dict[str, Any]:
            return {
                "type": "file", "path": path, "size": len(files[path]), "oid": hashlib.sha1(files[path]).hexdigest()
            }  # fmt: skip

        def said(self, facts: Any) -> None:
            self.answer(200, json.dumps(facts).encode())

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            start = f"{here}/resolve/"
            if path.startswith(start) and (file := path.removeprefix(start).split("/", 1)[-1]) in files:
                tag = hashlib.sha1(files[file]).hexdigest()
                self.answer(200, files[file], ETag=f'"{tag}"', X_Repo_Commit=_COMMIT)
            elif path.startswith(f"{api}/tree/"):
                self.answer(200, json.dumps([self.entry(file) for file in files]).encode())
            elif path.startswith(f"{api}/revision/"):
                facts = {"id": name, "sha": _COMMIT, "siblings": [{"rfilename": file} for file in files]}
                self.answer(200, json.dumps(facts).encode())
            else:
                self.answer(404, b"", X_Error_Code="EntryNotFound" if f"/{name}/" in path else "RepoNotFound")

        do_HEAD = do_GET  # noqa: N815

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            path = urlsplit(self.path).path
            if path == "/api/repos/create":
                return self.said({"url": f"http://{self.headers['Host']}/{name}", "id": name})
            if path == "/api/validate-yaml":
                return self.said({"errors": [], "warnings": []})
            if path.startswith(f"{api}/preupload/"):
                sent = [one["path"] for one in json.loads(body)["files"]]
                return self.said({"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in sent]})
            if path.startswith(f"{api}/commit/"):
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                return self.said(
                    {"commitUrl": f"http://{self.headers['Host']}/{name}/commit/{_COMMIT}", "commitOid": _COMMIT}
                )
            paths = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
            self.answer(200, json.dumps([self.entry(path) for path in paths if path in files]).encode())

    return Handler


@contextmanager
def hub_of(name: str, files: dict[str, bytes], models: bool = False) -> Iterator[tuple[str, list[str]]]:
    """The address of a hub that has the data set, or model, `name` of these files, and what it was asked for so far.

    What is uploaded to a model becomes part of `files`.
    """
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(name, files, asked, models)) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()
