"""What workers are asked to do in tests. It is imported by each of them, and so is light."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any


def who(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


def threads_of(x: Any) -> tuple[int, float]:
    import torch

    return torch.get_num_threads(), float(x.sum())


def dies_once(number: int, place: Path) -> tuple[int, int]:
    """Number 1 kills its process the first time; every start leaves a file."""
    starts = len(list(place.glob(f"{number} *")))
    (place / f"{number} {starts}").touch()
    if number == 1 and not starts:
        os.kill(os.getpid(), signal.SIGKILL)
    return number, os.getpid()


def always_dies(number: int) -> int:
    if number == 1:
        os._exit(7)
    return number


def raises(number: int) -> int:
    if number == 1:
        raise ValueError("no luck")
    return number


def sleeps(place: Path, number: int) -> int:
    (place / f"pid {number}").write_text(str(os.getpid()))
    if number > 0:
        time.sleep(600)
    return number
