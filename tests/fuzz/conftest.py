"""How long the fuzzing goes on: a moment in `make test`, minutes in `make test-all`, an hour in `make fuzz`."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "quickstudy",
    max_examples=int(os.environ.get("QUICKSTUDY_FUZZ", "25")),
    deadline=10_000,  # milliseconds for one example
    suppress_health_check=list(HealthCheck),
    derandomize="QUICKSTUDY_FUZZ" not in os.environ,
    database=None,
    print_blob=True,
)
settings.load_profile("quickstudy")
_MEMORY = 2_000_000  # kB


@pytest.fixture(autouse=True, scope="session")
def little_memory() -> Iterator[None]:
    """All of it together stays below 2 GB."""
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert peak < _MEMORY, f"fuzzing took {peak / 1e6:.1f} GB"
