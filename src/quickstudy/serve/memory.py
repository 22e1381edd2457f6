"""How a process of a server keeps memory: what one request frees is there for the next."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of mallopt(3)
_KEPT, _LARGE = 128 << 20, 32 << 20


def steady() -> None:
    """Tell glibc to keep up to 128 MB that are free at the end of what a process has, in one arena for all threads; of
    other C libraries, nothing.

    It gives back what is more than 128 kB, and is then given it again page by page, which costs more than the
    convolutions that ask for it; and with an arena for each thread, each keeps what another frees.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((_TRIM_THRESHOLD, _KEPT), (_MMAP_THRESHOLD, _LARGE), (_ARENA_MAX, 1)):
            mallopt(option, value)
