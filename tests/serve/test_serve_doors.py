"""Who may ask, how often, how much: each limit is met by a server that has it."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

from service_here import drawing, error_of, sent, server, shots  # noqa: E402

from quickstudy.serve.limits import Settings  # noqa: E402
from quickstudy.serve.rates import Rates  # noqa: E402
from quickstudy.serve.refusal import Refused  # noqa: E402

ONE, TWO = "a" * 40, "b" * 40
ORIGIN = "https://pages.example"


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server with tokens, TLS, an origin, and low limits; and its certificate."""
    place = tmp_path_factory.mktemp("closed")
    (place / "tokens").write_text(f"# ours\n{ONE}\n\n{TWO}\n")
    (place / "tokens").chmod(0o600)
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("there is no openssl, which makes the certificate")
    cert, key = place / "cert.pem", place / "key.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "1", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    words = ["--tokens", str(place / "tokens"), "--tls", str(cert), str(key), "--cors", ORIGIN]
    limits = ["--limits.models", "2", "--limits.examples", "5", "--limits.rate", "10", "--limits.body", "0.1"]
    with server(place / "store", *words, *limits) as here:
        assert here.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(cert))
        with httpx.Client(base_url=here.url, verify=context, timeout=60) as client:
            yield client


def as_(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_without_a_token_that_is_known_nothing_is_answered(closed: Any) -> None:
    assert closed.get("/api/about").json()["token"] is True
    assert closed.get("/v2/health/ready").status_code == 200
    for headers in (
        {},
        as_("c" * 40),
        {"authorization": f"Basic {ONE}"},
        as_(ONE[:-1]),
    ):
        answer = closed.get("/api/models", headers=headers)
        assert error_of(answer) == (401, "token") and answer.headers["www-authenticate"] == "Bearer"
        refused = closed.post("/v2/models/x/infer", headers=headers)
        assert refused.status_code == 401 and "token" in refused.json()["error"]
    assert closed.get("/metrics", headers=as_(ONE)).status_code == 200


def test_each_token_sees_its_own_models_alone_and_so_many(closed: Any) -> None:
    drawings, labels = shots(2, 2)
    made = closed.post("/api/models", files=sent(*drawings), data={"labels": labels}, headers=as_(ONE)).json()["id"]
    for method, path in (("GET", ""), ("POST", "/ask"), ("DELETE", ""), ("POST", "/undo"), ("GET", "/download")):
        answer = closed.request(method, f"/api/models/{made}{path}", headers=as_(TWO))
        assert error_of(answer) == (404, "not_found"), (method, path)
    assert closed.get("/api/models", headers=as_(TWO)).json() == {"models": []}
    assert [one["id"] for one in closed.get("/api/models", headers=as_(ONE)).json()["models"]] == [made]
    full = closed.post(
        f"/api/models/{made}/examples", files=sent(*drawings[:2]), data={"labels": "a"}, headers=as_(ONE)
    )
    assert error_of(full) == (413, "too_many_examples")
    assert closed.post("/api/models", headers=as_(ONE)).status_code == 201
    assert error_of(closed.post("/api/models", headers=as_(ONE))) == (409, "too_many_models")
    assert closed.post("/api/models", headers=as_(TWO)).status_code == 201


def test_a_body_may_be_so_large(closed: Any) -> None:
    time.sleep(1)
    assert error_of(closed.post("/api/models", content=bytes(100_001), headers=as_(ONE))) == (413, "too_large")


def test_pages_of_the_origin_that_is_named_may_read(closed: Any) -> None:
    answer = closed.get("/api/about", headers={"origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == ORIGIN and "strict-transport-security" in answer.headers
    before = closed.options("/api/models", headers={"origin": ORIGIN, "access-control-request-method": "POST"})
    assert before.status_code == 204 and "authorization" in before.headers["access-control-allow-headers"]
    assert error_of(closed.options("/api/models", headers={"origin": "https://evil.example"})) == (403, "origin")


def test_who_asks_too_often_is_told_when_to_come_again(closed: Any) -> None:
    time.sleep(2)
    answers = [closed.get("/api/models", headers=as_(TWO)) for _ in range(80)]
    refused = [one for one in answers if one.status_code == 429]
    assert refused and error_of(refused[0]) == (429, "rate") and int(refused[0].headers["retry-after"]) >= 1
    assert closed.get("/api/models", headers=as_(ONE)).status_code == 200  # others are not held back


def test_a_client_may_save_up_two_seconds_of_its_rate() -> None:
    rates = Rates(10)
    for _ in range(20):
        rates.take("a", 100.0)
    with pytest.raises(Refused) as refused:
        rates.take("a", 100.0)
    assert (refused.value.status, refused.value.after) == (429, 1)
    rates.take("b", 100.0)
    rates.take("a", 100.11)
    with pytest.raises(Refused):
        rates.take("a", 100.11)
    for _ in range(20):
        rates.take("a", 200.0)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server that works on two requests at once, for three seconds at most."""
    limits = ["--limits.queue", "2", "--limits.time", "3"]
    store = tmp_path_factory.mktemp("narrow")
    with server(store, *limits) as here, httpx.Client(base_url=here.url, timeout=60) as client:
        yield client


def test_what_comes_on_top_of_the_queue_is_refused_at_once(narrow: Any) -> None:
    drawings, labels = shots(5, 5)
    id = narrow.post("/api/models", files=sent(*drawings), data={"labels": labels}).json()["id"]

    def ask(i: int) -> tuple[int, Any]:
        answer = narrow.post(f"/api/models/{id}/ask", files=sent(drawing(i % 5, i)))
        return answer.status_code, answer.headers.get("retry-after")

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, range(160)))
    assert set(answers) == {(200, None), (429, "1")}
    assert narrow.post(f"/api/models/{id}/ask", files=sent(drawing(1, 1))).status_code == 200


def test_a_request_that_dawdles_is_given_up(narrow: Any) -> None:
    host, port = narrow.base_url.host, narrow.base_url.port
    with socket.create_connection((host, port), timeout=30) as slow:
        slow.sendall(f"POST /api/models HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\n{{".encode())
        began = time.monotonic()
        assert b" 504 " in slow.recv(1000).split(b"\r\n")[0]
        assert 2 < time.monotonic() - began < 20
    assert narrow.post("/api/models", json={}).status_code == 201


def test_who_sends_slowly_keeps_nobody_out(narrow: Any) -> None:
    host, port = narrow.base_url.host, narrow.base_url.port
    slow = [socket.create_connection((host, port), timeout=30) for _ in range(6)]
    try:
        for one in slow:
            one.sendall(f"POST /api/models HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\n{{".encode())
        assert [narrow.post("/api/models", json={}).status_code for _ in range(20)] == [201] * 20
    finally:
        for one in slow:
            one.close()


@pytest.mark.parametrize("path", ["/", "/api/about", "/v2/health/live", "/openapi.json", "/nowhere"])
def test_what_is_told_to_all_holds_nothing_of_them_in_memory(narrow: Any, path: str) -> None:
    host, port = narrow.base_url.host, narrow.base_url.port
    with socket.create_connection((host, port), timeout=30) as one:
        one.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9000\r\n\r\n{{".encode())
        assert one.recv(1000).split()[1] in (b"200", b"404")  # before the rest has come


def test_what_is_no_request_fills_no_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with server(tmp_path / "store") as here:
        host, port = here.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as one:
            one.sendall(b"nonsense\r\n\r\n")
            assert one.recv(100).startswith(b"HTTP/1.1 400")
        kind = {"content-type": "multipart/form-data; boundary=b"}
        assert httpx.post(f"{here.url}/api/models", content=b"nonsense", headers=kind).status_code == 400
    assert capfd.readouterr().err == ""


def test_many_that_hang_up_leave_the_server_as_it_was(narrow: Any) -> None:
    host, port = narrow.base_url.host, narrow.base_url.port

    def hang_up(i: int) -> None:
        with socket.create_connection((host, port), timeout=30) as one:
            one.sendall(f"POST /api/models HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\n".encode())

    threads = [threading.Thread(target=hang_up, args=(i,)) for i in range(30)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    until = time.monotonic() + 10
    while narrow.post("/api/models", json={}).status_code != 201:
        assert time.monotonic() < until
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["no-such-thing"], "nothing to serve"), (["--port", "70000"], "65535"),
        (["--tokens", "no-such-file"], "no file"), (["--workers", "0"], "1 to 256"),
        (["handwriting", "handwriting"], "called 'handwriting'"),
        (["--cors", "*"], "names origins"), (["--cors", "example.org"], "names origins"),
        (["--cors", "https://example.org/page"], "names origins"), (["--host", "no-host.invalid"], "address (--host)"),
        (["--tls", __file__, __file__], "no certificate"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_said(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from quickstudy.cli import main

    assert main(["serve", "--store", str(tmp_path / "store"), *words]) == 2
    assert told in capsys.readouterr().err


def test_tokens_that_can_be_guessed_or_read_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from quickstudy.cli.serve_command import _tokens
    from quickstudy.errors import ConfigError

    file = tmp_path / "tokens"
    for text, told in (("", "no token"), ("# none\n", "no token"), ("short\n", "guessed")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=told):
            _tokens(file)
    file.write_text(f"{ONE}\n")
    file.chmod(0o644)
    assert len(_tokens(file)) == 1
    assert "chmod 600" in capsys.readouterr().out


def test_who_is_refused_in_the_middle_of_what_it_sends_reads_why(narrow: Any) -> None:
    """An answer before the end of a large body would be lost with the connection, now and then."""
    for _ in range(6):
        with httpx.Client(base_url=narrow.base_url, timeout=60) as client:
            answer = client.post("/api/models", content=bytes(30_000_000))
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


def test_an_address_of_all_machines_is_told_with_one_that_browsers_open() -> None:
    everywhere = Settings(starts=("handwriting",), store="kept", host="0.0.0.0", port=8443, tls=True)
    assert "at https://0.0.0.0:8443/ " in everywhere.invitation
    assert "https://localhost:8443/" in everywhere.invitation
    assert "localhost" not in Settings(starts=("handwriting",), store="kept").invitation
