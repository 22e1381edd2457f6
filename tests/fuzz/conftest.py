"""How long the fuzzing goes on: a moment in `make test`, minutes in `make test-all`, an hour in `make fuzz`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_EXAMPLES = int(os.environ.get("QUICKSTUDY_FUZZ", "25"))
settings.register_profile(
    "quickstudy",
    max_examples=_EXAMPLES,
    deadline=10_000,  # milliseconds for one example
    suppress_health_check=list(HealthCheck),
    derandomize=_EXAMPLES
    <= 100,  # what must pass before a change lands is the same each time; `make fuzz` looks further
    database=None,
    print_blob=True,
)
settings.load_profile("quickstudy")
_MEMORY = 1_500_000  # kB, beside what the process had before


def _status(name: str) -> int:
    """A line of what Linux says of this process, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


@pytest.fixture(autouse=True, scope="module")
def little_memory() -> Iterator[None]:
    """No damaged file takes gigabytes."""
    if not Path("/proc/self/clear_refs").exists():
        yield
        return
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = _status("VmRSS")
    yield
    peak = _status("VmHWM") - before
    assert peak < _MEMORY, f"fuzzing took {peak / 1e6:.1f} GB"
