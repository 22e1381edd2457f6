"""A server of `quickstudy serve` in processes of its own, and drawings to send to it."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Server(NamedTuple):
    """process: the one that was started. url: where it is."""

    process: subprocess.Popen[str]
    url: str

    def kill(self) -> None:
        """End it, and all processes that it started, at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)


@contextmanager
def server(store: Path, *words: str) -> Iterator[Server]:
    """One that can be asked. At the end it is ended as a service is, and must end well, if it was not killed."""
    command = [sys.executable, "-m", "quickstudy", "serve", "--port", "0", "--store", str(store), *words]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        assert process.stdout is not None
        lines = []
        while line := process.stdout.readline():
            lines.append(line)
            if found := re.search(r"(https?://\S+)/  ", line):
                break
        assert lines and found, f"it ended: {lines}"
        yield Server(process, found[1])
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


def drawing(shape: int, seed: int) -> bytes:
    """A PNG file of one of five polygons and stars, each time a little different."""
    from PIL import Image, ImageDraw

    rng = np.random.default_rng([shape, seed])
    image = Image.new("L", (105, 105), 255)
    corners = np.arange(0, 3 + shape) * 2 * np.pi / (3 + shape)
    points = [(52 + 38 * np.cos(t) + rng.normal(0, 2), 52 + 38 * np.sin(t) + rng.normal(0, 2)) for t in corners]
    order = points[::2] + points[1::2] if shape % 2 else [*points, points[0]]
    ImageDraw.Draw(image).line([(float(x), float(y)) for x, y in order], fill=0, width=4)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def sent(*drawings: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    """Files of a form, as httpx takes them."""
    return [("files", (f"{i}.png", data, "image/png")) for i, data in enumerate(drawings)]


def shots(ways: int, each: int, seed: int = 0) -> tuple[list[bytes], list[str]]:
    """Drawings of several shapes, and their labels."""
    labels = [i for i in range(ways) for _ in range(each)]
    return [drawing(shape, seed * 1000 + i) for i, shape in enumerate(labels)], [f"shape {i}" for i in labels]


def error_of(answer: Any) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status_code, answer.json()["error"]["code"]
