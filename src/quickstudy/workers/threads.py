"""Threads that each use one core."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait


def single_threads(count: int) -> ThreadPoolExecutor:
    """`count` threads, all begun, on each of which PyTorch's operations use one core; other threads keep theirs."""
    import torch

    def begin() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # a thread takes the number at its first question or operation, and so takes it now

    before, together = torch.get_num_threads(), threading.Barrier(count)
    pool = ThreadPoolExecutor(count, "quickstudy", begin)
    try:
        wait([pool.submit(together.wait) for _ in range(count)])
    finally:
        together.abort()  # for those that wait, if others could not begin
        torch.set_num_threads(before)  # which is also what later threads of the process begin with
    return pool
