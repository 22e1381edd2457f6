"""What stands before all routes: who may ask, how much at once, how large and how long; and the headers of answers."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from quickstudy.serve.books import OPEN
from quickstudy.serve.limits import LOOPBACK, Settings
from quickstudy.serve.meters import Meters
from quickstudy.serve.rates import Rates
from quickstudy.serve.refusal import Refused, busy

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
BODY, OWNER = "quickstudy.body", "quickstudy.owner"
"""Where routes find, in the scope, what was sent and whose models are meant."""

_LINGERING, _DROPPED = 2.0, 4  # seconds, and times as much as may be sent, of what is refused and yet taken
_LONGER = 10  # times as long as others a download may take, of which exports are traced
_HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' data: blob:; "
        b"media-src 'self' blob:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
        b"frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(self), geolocation=()"),
]


class Front:
    """An ASGI application before another."""

    def __init__(self, app: App, settings: Settings, meters: Meters) -> None:
        self._app, self._settings, self._meters = app, settings, meters
        self._limits = settings.limits
        self._rates = Rates(self._limits.at(settings.host))
        self._running = 0
        self._held = 0  # bytes of bodies that arrive or are worked on
        self._local = settings.host in LOOPBACK
        self._headers = [*_HEADERS, *([(b"strict-transport-security", b"max-age=31536000")] if settings.tls else [])]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        began, answer = time.perf_counter(), _Sent(send, self._headers)
        headers: dict[bytes, bytes] = dict(scope["headers"])
        received, counted = _Received(receive), False
        try:
            answer.origin = self._origin(headers)
            if scope["method"] == "OPTIONS" and answer.origin is not None:
                await answer.preflight()
                return
            works = self._admitted(scope, headers)
            if works:
                self._require_free()
            longer = _LONGER if scope["path"].endswith("/download") else 1
            async with asyncio.timeout(self._limits.time * longer):
                scope[BODY] = await self._body(headers, received) if works else b""
                if works:  # from now on alone: who sends slowly keeps nobody out
                    self._require_free()
                    counted = True
                    self._running += 1
                    self._meters.running.inc()
                await self._app(scope, _nothing, answer)
        except Refused as error:
            await self._refuse(answer, error, scope, received)
        except TimeoutError:
            text = f"The request took longer than {self._limits.time:g} s. What it changes may yet be done; look at it."
            await self._refuse(answer, Refused(504, "time", text), scope, received)
        except _Gone:
            pass
        finally:
            self._held -= len(scope.get(BODY, b""))
            if counted:
                self._running -= 1
                self._meters.running.dec()
            route = getattr(scope.get("route"), "path", "other")
            self._meters.requests.labels(scope["method"] if route != "other" else "any", route, answer.status).inc()
            self._meters.seconds.labels(route).observe(time.perf_counter() - began)

    def _require_free(self) -> None:
        """429 where as much is worked on as may be."""
        if self._running >= self._limits.queue:
            raise busy(f"it works on {self._running} requests")

    def _origin(self, headers: dict[bytes, bytes]) -> bytes | None:
        """The origin of another's page that may ask; None of one's own, or of none. 403 for all others, and, on this
        machine's own addresses, for names that others have made mean them."""
        host = headers.get(b"host", b"").decode("latin-1")
        if self._local and (urlsplit(f"//{host}").hostname if _sane(host) else None) not in LOOPBACK:
            raise Refused(
                403, "host",
                f"The server is bound to this machine alone, and was asked as {host!r:.60}. Ask it as "
                f"{self._settings.address}, or start it with --host.",
            )  # fmt: skip
        origin = headers.get(b"origin")
        if origin is None:
            return None
        told = origin.decode("latin-1")
        if told in self._settings.origins:
            return origin
        if not _sane(told) or urlsplit(told).netloc != host:
            raise Refused(
                403, "origin",
                f"Pages of {told!r:.60} may not ask this server. Start it with --cors {told:.60}, if they are yours; "
                "behind a proxy, let it pass the header Host on.",
            )  # fmt: skip
        return None

    def _admitted(self, scope: Scope, headers: dict[bytes, bytes]) -> bool:
        """Whether the request is one of those that only so many are worked on at once; 401 or 429 for none."""
        path: str = scope["path"]
        api = path.startswith(("/api/", "/v2/")) or path == "/metrics"
        client: str = (scope.get("client") or ("",))[0]
        scope[OWNER] = OPEN
        if path == "/api/about" or path.startswith("/v2/health/"):
            return False
        if api and self._settings.tokens:
            try:
                scope[OWNER] = client = self._owner(headers)
            except Refused:
                self._rates.take(client, time.monotonic())  # so that tokens are not tried one after another
                raise
        self._rates.take(client, time.monotonic())
        return api and path != "/metrics"

    def _owner(self, headers: dict[bytes, bytes]) -> str:
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        digest = hashlib.sha256(given.strip()).hexdigest()
        known = [hmac.compare_digest(digest, token) for token in self._settings.tokens]
        if kind.lower() != b"bearer" or not any(known):
            raise Refused(401, "token", "A token is needed that the server knows: Authorization: Bearer TOKEN.")
        return digest[:24]

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """All that was sent, in memory, and counted in `_held`. 413 as soon as it is more than may be; 429 where all
        that arrives at once is."""
        most = self._limits.bytes
        told = headers.get(b"content-length", b"0")
        parts, size = list[bytes](), 0
        if not told.isdigit() or len(told) > 20 or int(told) > most:
            raise self._too_large()
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Gone
                part: bytes = message.get("body", b"")
                size += len(part)
                self._held += len(part)
                if size > most:
                    raise self._too_large()
                if self._held > most * self._limits.queue:
                    raise busy("too much is sent to it at once")
                parts.append(part)
                if not message.get("more_body", False):
                    return parts[0] if len(parts) == 1 else b"".join(parts)
        except BaseException:
            self._held -= size
            raise

    def _too_large(self) -> Refused:
        text = f"The request is larger than the limit of {self._limits.body:g} MB. Send less at once."
        return Refused(413, "too_large", text)

    async def _refuse(self, answer: _Sent, error: Refused, scope: Scope, received: _Received) -> None:
        self._meters.refusals.labels(error.code).inc()
        if answer.status:
            return  # it has begun already
        if b"expect" not in dict(scope["headers"]):  # who waits to be asked for a body sends none
            await received.dropped(_DROPPED * self._limits.bytes)
        headers = [(b"content-type", b"application/json")]
        headers += [(b"retry-after", str(error.after).encode())] if error.after is not None else []
        headers += [(b"www-authenticate", b"Bearer")] if error.status == 401 else []
        headers += [(b"connection", b"close")] if error.status in (413, 504) else []
        await answer.whole(error.status, headers, json.dumps(error.to_json(scope["path"]), ensure_ascii=False).encode())


class _Received:
    """What is received, and whether all of it was."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self.whole = receive, False

    async def __call__(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        self.whole = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def dropped(self, most: int) -> None:
        """Take what is still being sent, up to so many bytes, and drop it: a client whose connection is closed in the
        middle of what it sends does not see the answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGERING):
                while not self.whole and most > 0:
                    most -= len((await self()).get("body", b""))


class _Gone(Exception):
    """The client has hung up."""


class _Sent:
    """What is sent, with the headers of all answers. origin: of another's page, which may read it."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._send, self._headers = send, headers
        self.status = 0
        self.origin: bytes | None = None

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = {name.lower() for name, _ in message.get("headers", [])}
            further = [(name, value) for name, value in self._headers if name not in own]
            if self.origin is not None:
                further += [(b"access-control-allow-origin", self.origin), (b"vary", b"Origin")]
                further = [h for h in further if h[0] != b"cross-origin-resource-policy"]
            message = {**message, "headers": [*message.get("headers", []), *further]}
        await self._send(message)

    async def whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        headers = [*headers, (b"content-length", str(len(body)).encode())]
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self({"type": "http.response.body", "body": body})

    async def preflight(self) -> None:
        allowed = [
            (b"access-control-allow-methods", b"GET, POST, DELETE"),
            (b"access-control-allow-headers", b"authorization, content-type"),
            (b"access-control-max-age", b"600"),
        ]
        await self.whole(204, allowed, b"")


def _sane(address: str) -> bool:
    """Whether it can be taken apart."""
    try:
        return bool(urlsplit(address if "//" in address else f"//{address}").port or True)
    except ValueError:
        return False


async def _nothing() -> MutableMapping[str, Any]:
    """What is yet to be received after the body."""
    return {"type": "http.disconnect"}
