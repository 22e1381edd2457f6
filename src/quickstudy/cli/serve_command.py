"""`quickstudy serve [RUN|MODEL|BANK …]`: models that learn over HTTP, and a page that shows them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from quickstudy.cli import own
from quickstudy.cli.parse import parse, warn
from quickstudy.errors import ConfigError, MissingExtra
from quickstudy.files import require_regular
from quickstudy.serve.limits import LOOPBACK, Limits, Settings
from quickstudy.terminal import tell

_DEFAULT = "handwriting"
_SHORTEST = 16  # characters of a token


@dataclass
class Serve:
    """Serve models that learn: a page at /, an API at /api, Open Inference at /v2. Nothing is needed to begin."""

    what: tyro.conf.Positional[tuple[str, ...]] = (_DEFAULT,)
    """What models are made from: folders of runs, of adapted models or of banks, names under runs/, or models of the
    package. The first is meant where a request names none."""
    host: str = "127.0.0.1"
    """The address to serve at; 0.0.0.0 is reached from other machines."""
    port: int = 8000
    """The port; 0 for any that is free."""
    workers: int = 1
    """Processes. They share what is stored."""
    store: Path | None = None
    """Folder of the models that clients make; ~/.local/share/quickstudy/serve if not given."""
    tokens: Path | None = None
    """A file of tokens, one a line. Each sees its own models alone; without a token nothing is answered."""
    tls: tuple[Path, Path] | None = None
    """Files of a certificate and of its key, in PEM."""
    cors: tuple[str, ...] = ()
    """Origins of pages elsewhere that may ask, such as https://example.org."""
    wasm: Path | None = None
    """For downloads as web pages: the folder `dist` of onnxruntime-web, if it is not found by itself."""
    limits: Limits = field(default_factory=Limits)
    """What requests may take."""


def run(argv: Sequence[str]) -> int:
    options = parse(Serve, "serve", argv)
    if not 0 <= options.port <= 65_535:
        raise ConfigError(f"A port is a number from 0 to 65535, found {options.port}.")
    if not 1 <= options.workers <= 256:
        raise ConfigError(f"There can be 1 to 256 processes, found --workers {options.workers}.")
    for origin in options.cors:
        if not re.fullmatch(r"https?://[^/\s*?#@]+/?", origin):
            raise ConfigError(
                f"--cors names origins, as browsers send them, such as https://example.org, found {origin!r:.60}. "
                "Write the scheme and the host of each, without a path; that all may ask cannot be said."
            )
    for path in (*(options.tls or ()), *([options.tokens] if options.tokens else ())):
        require_regular(path)
        if not path.exists():
            raise ConfigError(f"There is no file {path}. Check the path.")
    try:
        from quickstudy.serve.running import serve
    except ImportError as error:
        if isinstance(error, MissingExtra):
            raise
        raise MissingExtra((error.name or "fastapi").partition(".")[0], "serve", "A server") from error
    settings = Settings(
        starts=options.what or (_DEFAULT,), store=str((options.store or _store()).absolute()), host=options.host,
        port=options.port, tokens=_tokens(options.tokens), origins=tuple(o.rstrip("/") for o in options.cors),
        imports=own.names(), workers=options.workers, tls=options.tls is not None,
        wasm="" if options.wasm is None else str(options.wasm.absolute()), limits=options.limits,
    )  # fmt: skip
    if options.host not in LOOPBACK and not settings.tokens:
        warn(
            f"the server is reached at {options.host} by whoever can, and anyone may make, see and delete models. Give "
            "--tokens FILE, or put it behind a proxy that asks who it is."
        )
    if options.host not in LOOPBACK and settings.tokens and options.tls is None:
        warn("tokens go over the network as they are. Give --tls CERT KEY, or put the server behind a proxy with TLS.")
    return serve(settings, tell, options.tls)


def _store() -> Path:
    """Where models are kept if nothing else is said."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share", "quickstudy", "serve")


def _tokens(path: Path | None) -> tuple[str, ...]:
    """SHA-256 of each token of a file."""
    if path is None:
        return ()
    lines = [line.strip() for line in path.read_text().splitlines()]
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens:
        raise ConfigError(f"There is no token in {path}. Write some, one a line: openssl rand -hex 24")
    if short := [i for i, token in enumerate(tokens, 1) if len(token) < _SHORTEST]:
        raise ConfigError(f"Token {short[0]} of {path} has fewer than {_SHORTEST} characters, and could be guessed.")
    if path.stat().st_mode & 0o077:
        warn(f"others on this machine can read {path}. Close it to them: chmod 600 {path}")
    return tuple(hashlib.sha256(token.encode()).hexdigest() for token in tokens)
