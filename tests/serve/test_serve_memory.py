"""A server's memory does not grow with what it has done."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

from service_here import sent, server, shots  # noqa: E402

WARM, MORE = 60, 120


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is read as Linux tells it")
def test_memory_is_flat_once_as_many_models_are_held_as_may_be(tmp_path: Path) -> None:
    files, labels = shots(4, 3)
    words = ("--limits.held", "10", "--limits.models", "100000")
    with server(tmp_path / "store", *words) as here, httpx.Client(base_url=here.url, timeout=60) as client:

        def made(count: int) -> float:
            """Megabytes of the server's own after so many more models."""
            for _ in range(count):
                answer = client.post("/api/models", files=sent(*files), data={"labels": labels})
                assert answer.status_code == 201, answer.text
            told = Path(f"/proc/{here.process.pid}/smaps_rollup").read_text()
            return sum(int(kilobytes) for kilobytes in re.findall(r"Private_\w+:\s+(\d+)", told)) / 1000

        first = made(WARM)
        assert made(MORE) < first + 6  # a model is of 0.1 MB, so that if all were held it would be 12
