"""What a process is changed in that trains. One that imports, evaluates, adapts or serves is left as it is."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

import torch

from quickstudy.engine.distribute import standing

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_LARGEST = 1 << 30
_OWN_CHOICE = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def trains_on(device: torch.device) -> None:
    """Arrange this process for training on `device`, for as long as it lives.

    On a CPU it keeps freed memory. Of several processes, each makes its CUDA device PyTorch's own.
    """
    if device.type == "cpu":
        keep_freed_memory()
    elif device.type == "cuda" and standing()[1] > 1:
        torch.cuda.set_device(device)


@cache
def keep_freed_memory() -> bool:
    """Let this process keep what it frees; whether that could be arranged (glibc only).

    By default glibc hands a large tensor's pages back to the system when it is freed, and the system clears new ones
    for the next, which for networks of convolutions may take as long as the arithmetic. Variables of the environment by
    which a user has set this are left alone.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in _OWN_CHOICE):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_TRIM_THRESHOLD, 2 * _LARGEST - 1))
