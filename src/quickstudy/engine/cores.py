"""How many cores the operations of a block may use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def cores(count: int) -> Iterator[None]:
    """Within it, PyTorch's operations run on `count` cores; 0 leaves that as it is. It costs nothing."""
    before = torch.get_num_threads()
    if count in (0, before):
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
