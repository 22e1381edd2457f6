"""Whether what is computed is computed now, or only written down."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack


def traced(*tensors: Tensor) -> bool:
    """Whether these stand for values that are not known yet: in graphs that are compiled or exported, and under the
    transforms of `torch.func`."""
    if torch.compiler.is_compiling() or len(_get_current_dispatch_mode_stack()) > 0:
        return True
    return any(torch._C._functorch.is_functorch_wrapped_tensor(tensor) for tensor in tensors)
