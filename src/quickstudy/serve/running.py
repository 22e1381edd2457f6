"""Starting the processes of a server, and ending them."""

from __future__ import annotations

import logging
import os
import signal
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from quickstudy.errors import ConfigError, MissingExtra
from quickstudy.serve import books
from quickstudy.serve.limits import Settings
from quickstudy.serve.meters import FOLDER, ended
from quickstudy.serve.starts import all_opened

_BACKLOG = 2048
_KEPT_ALIVE = 65  # seconds: longer than proxies keep a connection
_APP = "quickstudy.serve.app"


def serve(settings: Settings, tell: Callable[[str], None], tls: tuple[Path, Path] | None = None) -> int:
    """Serve until a signal ends it; the exit status. tell: where the address is told, once it can be asked.

    After SIGTERM or Ctrl-C no new connection is taken, what has begun is finished, and the status is 0.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtra("uvicorn", "serve", "A server") from error
    if tls is not None:
        _require_pair(*tls)
    books.opened(Path(settings.store))
    with _bound(settings) as sock, _counting(), _calm():
        settings = replace(settings, port=sock.getsockname()[1], tls=tls is not None)
        # h11: others bound no headers. What is wrong with requests is their sender's concern, and not for a log
        config: dict[str, Any] = {
            "log_level": "error", "http": "h11", "access_log": False, "server_header": False,
            "timeout_keep_alive": _KEPT_ALIVE,
            "timeout_graceful_shutdown": int(settings.limits.time) + 5, "backlog": _BACKLOG, "lifespan": "on",
            "ws": "none", "proxy_headers": True, "timeout_worker_healthcheck": 60,
        }  # fmt: skip
        if tls is not None:
            config |= {"ssl_certfile": str(tls[0]), "ssl_keyfile": str(tls[1])}

        def started() -> None:
            tell(settings.invitation)

        if settings.workers == 1:
            from quickstudy.serve.app import application

            app = application(settings, started)
            uvicorn.Server(uvicorn.Config(app, **config)).run(sockets=[sock])
            return 0
        from quickstudy.serve.app import SETTINGS

        all_opened(settings.starts)  # says at once what cannot be served
        os.environ[SETTINGS] = settings.to_text()
        config["loop"] = "quickstudy.serve.doors:Loop"
        of_all = uvicorn.Config(f"{_APP}:from_environment", factory=True, workers=settings.workers, **config)
        return _several(of_all, sock, started)


def _several(config: Any, sock: socket.socket, started: Callable[[], None]) -> int:
    from uvicorn.supervisors import Multiprocess

    class Watched(Multiprocess):  # type: ignore[misc]
        told = False

        def keep_subprocess_alive(self) -> None:
            before = {one.pid for one in self.processes}
            super().keep_subprocess_alive()
            for gone in before - {one.pid for one in self.processes}:
                ended(gone)
            if not self.told and any(one.is_ready(1) for one in self.processes):
                self.told = True
                started()

    server = Watched(config, sockets=[sock])
    server.run()
    return 0 if server.told else 1


def _require_pair(cert: Path, key: Path) -> None:
    """ConfigError for files that are no certificate and its key, or whose key asks for a password."""

    def asked() -> str:
        raise ConfigError(f"The key {key} has a password, and nobody to ask for it. Give it without: openssl pkey.")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, asked)
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(f"{cert} and {key} are no certificate and its key in PEM ({why}). Give such.") from error


@contextmanager
def _counting() -> Iterator[None]:
    """Within it the environment names a folder for what processes count."""
    with tempfile.TemporaryDirectory(prefix="quickstudy-meters-") as folder:
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            os.environ.pop(FOLDER, None)


@contextmanager
def _bound(settings: Settings) -> Iterator[socket.socket]:
    """A socket that listens, so that who comes from now on is answered, if only after the processes are there."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # The protocol is named: asyncio lets answers of two parts wait for each other 40 ms (Nagle) where it is not.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((settings.host, settings.port))
            sock.listen(_BACKLOG)
        except OSError as error:
            raise ConfigError(
                f"Could not serve at {settings.address}: {error.strerror or error}. Choose another address (--host) "
                "or port (--port; 0 for any that is free)."
            ) from error
        sock.set_inheritable(True)
        yield sock


@contextmanager
def _calm() -> Iterator[None]:
    """Within it, signals that end a server do so once: uvicorn raises them again when it has ended."""

    def nothing(number: int, frame: FrameType | None) -> None:
        logging.getLogger("quickstudy").debug("signal %s", number)

    before = {number: signal.signal(number, nothing) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
