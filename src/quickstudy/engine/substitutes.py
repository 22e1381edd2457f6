"""Operations that stand for torch's own where many tasks are differentiated twice at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from quickstudy.engine.convolutions import CONVOLUTIONS
from quickstudy.engine.norms import NORMS

_SUBSTITUTES: Mapping[Callable[..., Any], Callable[..., Tensor]] = {**NORMS, **CONVOLUTIONS}


class Substitutes(TorchFunctionMode):
    """Within it, networks normalise and convolve by what can be differentiated twice under `vmap`, rightly and fast.

    Where one task runs at a time in eager code, torch's own are both.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        substitute: Callable[..., Any] = _SUBSTITUTES.get(function, function)
        return substitute(*args, **(kwargs or {}))
