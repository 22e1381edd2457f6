"""How much a server of quickstudy takes: adapting and asking over HTTP, at what it can do and at ten times that.

The server has two processes of one thread each, as on two cores; the load comes from a third process on the same
machine, whose share of the cores is told. Drawings are made up: strokes of five shapes, 105 x 105 pixels, as PNG files.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from studies.common import store
from studies.load import form, post

SECONDS = float(os.environ.get("QUICKSTUDY_LOAD_SECONDS", "20"))
_WAYS, _SHOTS, _MODELS = 5, 5, 20


def drawing(shape: int, rng: np.random.Generator) -> bytes:
    """A PNG file of one of five shapes, each time a little different."""
    from PIL import Image, ImageDraw

    image = Image.new("L", (105, 105), 255)
    pen = ImageDraw.Draw(image)
    corners = [(52 + 38 * np.cos(t), 52 + 38 * np.sin(t)) for t in np.arange(0, 3 + shape) * 2 * np.pi / (3 + shape)]
    points = [(x + rng.normal(0, 3), y + rng.normal(0, 3)) for x, y in corners]
    order = points[::2] + points[1::2] if shape % 2 else [*points, points[0]]
    pen.line([(float(x), float(y)) for x, y in order], fill=0, width=4)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@contextmanager
def server(workers: int, *options: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A server in processes of its own; its port."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["serve", "--port", "0", "--store", folder, "--workers", str(workers), *options]
        process = subprocess.Popen(
            [sys.executable, "-m", "quickstudy", *words], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r":(\d+)/", line)
            assert found is not None, line
            yield int(found[1]), process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def family(process: int) -> list[int]:
    """A process and those that it started."""
    found = [process]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == process:
                found.append(int(stat.parent.name))
        except OSError:
            continue  # it has ended
    return found


def used(process: int) -> tuple[float, float]:
    """Seconds of cores, and megabytes of memory that are a process's own, of it and those that it started."""
    seconds = memory = 0.0
    for one in family(process):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            told = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        memory += sum(int(kb) for kb in re.findall(r"Private_\w+:\s+(\d+)", told)) / 1000
    return seconds, memory


def load(
    port: int, process: int, requests: list[bytes], connections: int, rate: float = 0, seconds: float = SECONDS
) -> dict[str, Any]:
    """What came of asking so for a while. rate: a second, over all connections; 0 for as fast as answers come."""
    told = {
        "port": port, "connections": connections, "seconds": seconds, "rate": rate,
        "requests": [base64.b64encode(one).decode() for one in requests],
    }  # fmt: skip
    before, (began, first) = time.perf_counter(), used(process)
    peak = [first]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            peak.append(used(process)[1])

    watching = threading.Thread(target=watch)
    watching.start()
    answer = subprocess.run(
        [sys.executable, "-m", "studies.load"], input=json.dumps(told), capture_output=True, text=True, check=True
    )
    done.set()
    watching.join()
    ended, last = used(process)
    found: dict[str, Any] = json.loads(answer.stdout)
    found["server"] = (ended - began) / (time.perf_counter() - before)
    found["megabytes"] = {"first": first, "peak": max(peak), "last": last}
    print(found, flush=True)
    return found


def made(port: int, body: bytes, kind: str) -> str:
    """The id of a new model."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/models", body, {"Content-Type": kind})
    with urllib.request.urlopen(request) as answer:
        return str(json.load(answer)["id"])


def served(workers: int = 2) -> None:
    rng = np.random.default_rng(0)
    labels = [str(i // _SHOTS) for i in range(_WAYS * _SHOTS)]
    supports = [form([drawing(i // _SHOTS, rng) for i in range(_WAYS * _SHOTS)], labels) for _ in range(8)]
    adapts = [post("/api/models", *one) for one in supports]
    found: dict[str, Any] = {"workers": workers, "ways": _WAYS, "shots": _SHOTS, "models": _MODELS}
    with server(workers, "--limits.models", "1000000") as (port, process):
        ids = [made(port, *supports[i % len(supports)]) for i in range(_MODELS)]
        asks = {
            count: [post(f"/api/models/{ids[i % count]}/ask", *form([drawing(i % _WAYS, rng)], [])) for i in range(200)]
            for count in (1, _MODELS)
        }
        load(port, process.pid, adapts, 4, seconds=3)
        load(port, process.pid, asks[1], 8, seconds=3)
        found["adapt"] = load(port, process.pid, adapts, 4)
        found["predict, one model"] = load(port, process.pid, asks[1], 16)
        found[f"predict, {_MODELS} models"] = load(port, process.pid, asks[_MODELS], 16)
        found["adapt, ten times"] = load(port, process.pid, adapts, 200, 400)
        found["predict, ten times"] = load(port, process.pid, asks[_MODELS], 400, 4000)
        found["predict, after that"] = load(port, process.pid, asks[1], 16, seconds=5)
    store("served", found)
