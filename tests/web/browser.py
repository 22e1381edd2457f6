"""The page as files on a server, and what it finds when a test asks it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def files_served(folder: Path) -> Iterator[str]:
    """The address of `folder`, served by Python's own server of files in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(10)


def run(driver: Any, script: str, *given: Any) -> Any:
    """What `script`, the body of an async function of `given`, returns in the page."""
    found = driver.execute_async_script(
        "const done = arguments[arguments.length - 1]; const given = Array.from(arguments).slice(0, -1);"
        f"(async () => {{ {script} }})().then((value) => done({{ value }}), "
        "(error) => done({ error: `${error.code ?? error.name}: ${error.message}\\n${error.stack}` }));",
        *given,
    )
    assert "error" not in found, found["error"]
    return found.get("value")
