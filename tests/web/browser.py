"""A headless Chromium over a server of files, for tests of the page."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic", "--no-first-run",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip

needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium or its driver is not installed")


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


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """A driver of selenium, whose browser has nothing but what is in `profile`."""
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in (*OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(90)
    try:
        yield driver
    finally:
        driver.quit()


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
