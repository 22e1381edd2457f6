"""How long importing and the usage text take, each in fresh processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

_IMPORTS = """
import time
began = time.perf_counter()
import torch
middle = time.perf_counter()
import quickstudy
names = time.perf_counter()
for name in quickstudy.__all__:
    getattr(quickstudy, name)
print(middle - began, names - middle, time.perf_counter() - middle)
"""
TITLE = "in fresh processes, files in the disk cache"


def _environment() -> dict[str, str]:
    """As it is, but that Python keeps the bytecode of what it imports, as it does by default."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _imports() -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTS], env=_environment(), capture_output=True, text=True, check=True
    )
    return [float(word) for word in done.stdout.split()]


def _command(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run(arguments, env=_environment(), capture_output=True, check=True)
    return time.perf_counter() - began


def measure(quick: bool) -> Iterator[dict[str, Any]]:
    """Medians, the processes alternating."""
    print("start-up", file=sys.stderr)
    command = str(Path(sys.executable).parent / "quickstudy")
    rounds = []
    for _ in range(3 if quick else 15):
        rounds.append([*_imports(), _command(sys.executable, "-c", "pass"), _command(command, "--help")])
    names = (
        "import torch",
        "import quickstudy, after torch",
        "import quickstudy and all that is public in it, after torch",
        "python that does nothing",
        "quickstudy --help",
    )
    columns = list(zip(*rounds[1:], strict=True))  # the first round fills the disk cache
    yield {"title": TITLE, "rows": [{"name": n, "seconds": median(c)} for n, c in zip(names, columns, strict=True)]}
