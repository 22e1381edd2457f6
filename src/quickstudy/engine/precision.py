"""In which number format a network runs. φ itself stays float32; heads and losses never run in less."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch

from quickstudy.episode import Params

Precision = Literal["float32", "bfloat16"]


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """Within it, convolutions and matrix products run in `precision` where that is safe."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def place(params: Params, device: torch.device, inner_loop: bool = False) -> Params:
    """φ on `device`; on a CPU, convolution weights in the channels-last layout that its kernels are fastest with.

    inner_loop: the weights are differentiated twice, where that layout is the slower one.
    """
    if device.type != "cpu" or inner_loop:
        return {name: value.to(device) for name, value in params.items()}
    return {
        name: value.to(device, memory_format=torch.channels_last) if value.dim() == 4 else value.to(device)
        for name, value in params.items()
    }
