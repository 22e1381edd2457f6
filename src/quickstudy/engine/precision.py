"""In which number format a network runs. φ itself stays float32; heads and losses never run in less."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch

from quickstudy.engine.shared import Shared
from quickstudy.episode import Params
from quickstudy.storage.tensors import plain

Precision = Literal["float32", "tf32", "bfloat16"]


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """Within it, convolutions and matrix products of this thread run in bfloat16 where that is asked for and safe."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def tensor_cores(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """Within it, those of 'tf32' keep 10 of the 23 bits of their inputs on the tensor cores of NVIDIA GPUs.

    PyTorch knows this for a whole process only. So it is for meta-gradients, and what is trained with it is evaluated
    in float32. Other devices than CUDA have no such numbers and compute in float32.
    """
    return _TENSOR_CORES if precision == "tf32" and device.type == "cuda" else nullcontext()


@contextmanager
def _tensor_cores() -> Iterator[None]:
    backends: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn.conv]  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = "tf32"
    try:
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


_TENSOR_CORES = Shared(_tensor_cores)


def place(params: Params, device: torch.device, inner_loop: bool = False) -> Params:
    """φ or ψ on `device`; on a CPU, convolution weights in the channels-last layout that its kernels are fastest with.

    How a tensor lies in memory is then a function of its shape, whatever made it, so that a model that was stored
    answers to the same bits. inner_loop: the weights are differentiated twice, where that layout is the slower one.
    """
    laid = {name: plain(value.to(device)) for name, value in params.items()}
    if device.type != "cpu" or inner_loop:
        return laid
    return {n: v.to(memory_format=torch.channels_last) if v.dim() == 4 else v for n, v in laid.items()}
