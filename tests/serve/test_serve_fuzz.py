"""Whatever is sent, the answer comes, and is no mistake of the server's."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

from service_here import drawing, shots  # noqa: E402

from quickstudy.serve.app import application  # noqa: E402
from quickstudy.serve.limits import Limits, Settings  # noqa: E402

UPLOADS = int(os.environ.get("QUICKSTUDY_FUZZ", "1")) * 200
SENT = ("method", "url", "json", "data", "files", "headers", "params", "content")
LABELS: list[Any] = ["a", "", "\u0000", "ü" * 200, 1, 1e400, None, True, [], {}, "\ud800", "../x", "‮"]
RECORDS: list[Any] = [
    "/etc/passwd", "", 0, None, [], {}, [[]], {"file": ""}, {"file": "AAAA"}, {"file": 1}, {"file": "AAAA", "name": 1},
    {"file": "AAAA", "x": 1}, [1, 2], "data:image/png;base64,AAAA", {"file": "data:image/png;base64,iVBORw0KGgo="},
]  # fmt: skip


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The bytes of a file or form, damaged in one of several ways."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 3, 30])):
        at = rng.randrange(len(changed) + 1)
        how = rng.randrange(5)
        if how == 0 and changed:
            changed[at - 1] ^= 1 << rng.randrange(8)
        elif how == 1:
            del changed[at : at + rng.randrange(50)]
        elif how == 2:
            changed[at:at] = rng.randbytes(rng.randrange(20))
        elif how == 3:
            changed[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
        else:
            changed = changed[:at]
    return bytes(changed)


def form(files: list[bytes], labels: list[bytes]) -> bytes:
    parts = [
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + one + b"\r\n"
        for one in files
    ]
    parts += [b'--b\r\nContent-Disposition: form-data; name="labels"\r\n\r\n' + one + b"\r\n" for one in labels]
    return b"".join(parts) + b"--b--\r\n"


def test_damaged_uploads_are_refused_or_taken_and_nothing_else(tmp_path: Path) -> None:
    rng = random.Random(0)
    app = application(Settings(starts=("handwriting",), store=str(tmp_path / "store"), limits=Limits(time=20)))

    async def all_of_them() -> Counter[int]:
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1", timeout=60)
        drawings, labels = shots(2, 2)
        body = form(drawings, [one.encode() for one in labels])
        kind = {"content-type": "multipart/form-data; boundary=b"}
        made = await client.post("/api/models", content=body, headers=kind)
        path = f"/api/models/{made.json()['id']}"
        found: Counter[int] = Counter()
        for i in range(UPLOADS):
            route = rng.choice(
                [f"{path}/examples", f"{path}/ask", f"{path}/score", "/api/models", f"/v2{path[4:]}/infer"]
            )
            if i % 4 == 0:
                told = {
                    "records": rng.choices(RECORDS, k=2),
                    "labels": rng.choices(LABELS, k=2),
                    "start": rng.choice([1, "handwriting"]),
                }
                sent, headers = json.dumps(told).encode(), {"content-type": "application/json"}
                sent = mutated(sent, rng) if rng.random() < 0.5 else sent
            elif i % 4 == 1:
                sent, headers = mutated(body, rng), kind
            else:
                sent, headers = form([mutated(drawing(i % 3, i), rng)], [b"a"]), kind
            answer = await client.post(route, content=sent, headers=headers)
            found[answer.status_code] += 1
            assert answer.status_code < 500, (route, sent[:300], answer.text)
            error = answer.json().get("error")  # of Open Inference it is the sentence itself
            assert answer.status_code < 300 or (error if route.startswith("/v2") else error["message"])
            if i % 50 == 49:
                path = f"/api/models/{(await client.post('/api/models', content=body, headers=kind)).json()['id']}"
        again = (await client.post("/api/models", content=body, headers=kind)).json()["id"]
        after = await client.post(f"/api/models/{again}/ask", content=form([drawings[0]], []), headers=kind)
        assert after.status_code == 200
        return found

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = asyncio.run(all_of_them())
    assert found[422] > UPLOADS / 20 and found[200] + found[201] > UPLOADS / 50, found
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


def test_the_schema_is_kept_to(tmp_path: Path) -> None:
    """Requests that are made from the schema are answered as it says."""
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings

    app = application(Settings(starts=("handwriting",), store=str(tmp_path / "store"), limits=Limits()))
    told = json.loads(asyncio.run(_get(app, "/openapi.json")))
    schema = schemathesis.openapi.from_dict(told)
    count = 0
    loop = asyncio.new_event_loop()
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1", timeout=60)
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == "/api/models/{model}/download":
            continue

        @given(case=operation.as_strategy())
        @settings(
            max_examples=4 * UPLOADS // 200, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate],
        )  # fmt: skip
        def one(case: Any) -> None:
            nonlocal count
            given = case.as_transport_kwargs(base_url="http://127.0.0.1")
            given.pop("cookies", None)
            try:
                request = client.build_request(**{name: given[name] for name in SENT if name in given})
                loop.run_until_complete(request.aread())  # of a form: now, and not when it is sent
            except (AttributeError, TypeError, ValueError, httpx.InvalidURL):
                return  # what no client can send
            answer = loop.run_until_complete(client.send(request))
            count += 1
            assert answer.status_code < 500, (request.url, answer.text)
            declared = case.operation.definition.raw["responses"]
            known = str(answer.status_code) in declared or answer.status_code in (404, 405, 422)
            assert known, (request.url, answer.text)

        one()
    assert count > 20


async def _get(app: Any, path: str) -> str:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1") as client:
        return str((await client.get(path)).text)
