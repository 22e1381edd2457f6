"""A load generator: one process that asks a server over connections that stay open, and times every answer.

`python -m studies.load` reads what to do as JSON from standard input, and writes what came of it to standard output.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections import Counter
from typing import Any

_WAIT = 60.0  # seconds for one answer


def post(path: str, body: bytes, kind: str, token: str = "") -> bytes:
    """A request, as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return (head + (f"Authorization: Bearer {token}\r\n" if token else "") + "\r\n").encode() + body


def form(files: list[bytes], labels: list[str], boundary: str = "quickstudy") -> tuple[bytes, str]:
    """Files and labels as a form, and its content type."""
    parts = []
    for i, data in enumerate(files):
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{i}.png"\r\n'
        parts.append((head + "Content-Type: image/png\r\n\r\n").encode() + data + b"\r\n")
    for label in labels:
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="labels"\r\n\r\n{label}\r\n'.encode())
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


class _Load:
    def __init__(self, port: int, requests: list[bytes], connections: int, seconds: float, rate: float) -> None:
        self.port, self.requests, self.connections, self.rate = port, requests, connections, rate
        self.until = time.perf_counter() + seconds
        self.began = time.perf_counter()
        self.number = 0
        self.times: list[tuple[int, float, float]] = []
        self.late = 0
        self.broken = 0

    def _next(self) -> tuple[int, float] | None:
        """The next request, and when it is due: at once, or by the rate, whether or not the server keeps up."""
        number = self.number
        due = time.perf_counter() if not self.rate else self.began + number / self.rate
        if due >= self.until:
            return None
        self.number += 1
        return number, due

    async def _connection(self) -> None:
        reader = writer = None
        while (found := self._next()) is not None:
            number, due = found
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            self.late += wait < -0.05
            try:
                if writer is None or reader is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                began = time.perf_counter()
                writer.write(self.requests[number % len(self.requests)])
                async with asyncio.timeout(_WAIT):
                    head = await reader.readuntil(b"\r\n\r\n")
                    lower = head.lower()
                    at = lower.index(b"content-length:") + 15
                    await reader.readexactly(int(lower[at : lower.index(b"\r", at)]))
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                self.broken += 1
                if writer is not None:
                    writer.close()
                reader = writer = None
                continue
            now = time.perf_counter()
            self.times.append((int(head[9:12]), now - due, now - began))
            if b"connection: close" in lower:
                writer.close()
                reader = writer = None
        if writer is not None:
            writer.close()

    async def run(self) -> dict[str, Any]:
        used = time.process_time()
        await asyncio.gather(*(self._connection() for _ in range(self.connections)))
        took = time.perf_counter() - self.began
        good, sent = (sorted(one[which] for one in self.times if one[0] < 400) for which in (1, 2))
        refused = sorted(one[2] for one in self.times if one[0] == 429)

        def quantile(q: float, of: list[float] = good) -> float | None:
            return 1000 * of[min(len(of) - 1, int(q * len(of)))] if of else None

        return {
            "seconds": took, "asked": self.number, "statuses": dict(Counter(str(one[0]) for one in self.times)),
            "a second": len(good) / took, "p50": quantile(0.5), "p99": quantile(0.99), "broken": self.broken,
            "p99 since it was sent": quantile(0.99, sent), "p99 of refusals": quantile(0.99, refused),
            "late": self.late, "generator": (time.process_time() - used) / took,
        }  # fmt: skip


def main() -> None:
    told = json.load(sys.stdin)
    requests = [base64.b64decode(one) for one in told["requests"]]
    load = _Load(told["port"], requests, told["connections"], told["seconds"], told["rate"])
    json.dump(asyncio.run(load.run()), sys.stdout)


if __name__ == "__main__":
    main()
