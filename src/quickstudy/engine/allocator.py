"""Memory of the CPU that is used again instead of being fetched from the system at every operation."""

from __future__ import annotations

import ctypes
import os
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_LARGEST = 1 << 30
_OWN_CHOICE = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


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
