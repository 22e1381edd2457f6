"""What a server allows, and how it was started."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from quickstudy.errors import ConfigError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
EVERYWHERE = frozenset({"0.0.0.0", "::"})


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request, one client and one owner of models may take of the server."""

    body: float = 16.0
    """Megabytes of a request."""
    pixels: float = 25.0
    """Millions of pixels of a picture."""
    seconds: float = 60.0
    """How long a sound may last."""
    characters: int = 20_000
    """Of a text, and numbers of a series."""
    examples: int = 1000
    """Of one model."""
    models: int = 1000
    """Of one token; of all together where there are no tokens."""
    records: int = 256
    """That one request may ask about."""
    rate: float | None = None
    """Requests a second of one client, of which it may save up twice as many; 0 for any. If not given, 50 where the
    server is reached from other machines, any on this one."""
    queue: int = 32
    """Requests that one process takes at once; what comes on top is answered 429."""
    time: float = 30.0
    """Seconds that a request may take."""
    held: int = 500
    """Models that one process keeps in memory; others are read from disk when they are asked."""

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            least = 0 if one.name == "rate" else 1e-6 if one.name in ("body", "pixels", "seconds", "time") else 1
            if value is not None and not least <= value < float("inf"):
                raise ConfigError(
                    f"--limits.{one.name} must be {'0 or more' if not least else 'positive'}, found {value:g}."
                )

    @property
    def bytes(self) -> int:
        return int(self.body * 1e6)

    def at(self, host: str) -> float:
        """The rate of one client where the server is bound to `host`; 0 for any."""
        return (0.0 if host in LOOPBACK else 50.0) if self.rate is None else self.rate


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a server was started: what its processes are told.

    starts: what models are made of, by their names on the command line. store: the folder of what is kept. tokens:
    SHA-256 of each token, in hex; empty where anyone may ask. origins: of pages of others that may ask. imports: files
    of the user's own parts. wasm: what runs exported models in a browser.
    """

    starts: tuple[str, ...]
    store: str
    host: str = "127.0.0.1"
    port: int = 8000
    tokens: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    workers: int = 1
    tls: bool = False
    wasm: str = ""
    limits: Limits = field(default_factory=Limits)

    def to_text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of_text(cls, text: str) -> Settings:
        told: Mapping[str, Any] = json.loads(text)
        listed: dict[str, Any] = {k: tuple(one) if isinstance(one, list) else one for k, one in told.items()}
        return cls(**(listed | {"limits": Limits(**told["limits"])}))

    @property
    def address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def invitation(self) -> str:
        """What is told once it can be asked: with an address that browsers open, which that of all machines is not."""
        scheme = "https" if self.tls else "http"
        here = f" as {scheme}://localhost:{self.port}/ here" if self.host in EVERYWHERE else ""
        return f"Serving {', '.join(self.starts)} at {self.address}/  (open it in a browser{here}; Ctrl-C ends it)"
