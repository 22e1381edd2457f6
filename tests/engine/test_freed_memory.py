"""What a process frees it uses again once it trains."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys, torch
from quickstudy.engine import keep_freed_memory
arranged = keep_freed_memory() if sys.argv[1] == "keep" else False
def work():
    for _ in range(5):
        torch.ones(10_000_000)
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(arranged, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str, **environment: str) -> tuple[bool, int]:
    process = subprocess.run(
        [sys.executable, "-c", _FAULTS, how],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    arranged, faults = process.stdout.split()
    return arranged == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to")
def test_large_tensors_come_from_memory_that_was_freed() -> None:
    arranged, faults = page_faults("keep")
    assert arranged
    assert faults < page_faults("default")[1] / 10  # whose number depends on how large the system's pages are


def test_what_a_user_has_set_is_left_alone() -> None:
    assert not page_faults("keep", MALLOC_TRIM_THRESHOLD_="100000")[0]
