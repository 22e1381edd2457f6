"""Products with weights, by the faster one of the two libraries that PyTorch has for them."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.traced import traced

_FEW = 32  # rows for which preparing costs more than is won


@cache
def by_onednn() -> bool:
    """Whether oneDNN multiplies float32 matrices faster here than MKL, which PyTorch asks for it.

    On AMD's processors with AVX-512, MKL 2024 gets along with AVX2: oneDNN is twice as fast.
    """
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return wide and str(known.get("cpu_name")).startswith("AMD") and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear` of rows: (n, m) for x (n, d), weight (m, d) and bias (m,), up to rounding."""
    if by_onednn() and _at_hand(x, weight):
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return found
    return F.linear(x, weight, bias)


def _at_hand(x: Tensor, weight: Tensor) -> bool:
    """Whether these are values on the processor, and nothing differentiates, traces or transforms what is done."""
    if x.dtype != torch.float32 or x.device.type != "cpu" or x.dim() != 2 or len(x) < _FEW:
        return False
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return False
    return not traced(x, weight)
