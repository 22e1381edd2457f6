"""In which number format a network runs. φ itself stays float32; heads and losses never run in less."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import torch

from quickstudy.episode import Params

Precision = Literal["float32", "tf32", "bfloat16"]


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """Within it, convolutions and matrix products of this thread run in bfloat16 where that is asked for and safe."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


@contextmanager
def tensor_cores(precision: Precision, device: torch.device) -> Iterator[None]:
    """Within it, those of 'tf32' keep 10 of the 23 bits of their inputs on the tensor cores of NVIDIA GPUs.

    PyTorch knows this for a whole process only. So it is for meta-gradients, and what is trained with it is evaluated
    in float32. Other devices than CUDA have no such numbers and compute in float32.
    """
    if precision != "tf32" or device.type != "cuda":
        yield
        return
    backends: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn.conv]  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = "tf32"
    try:
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


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
