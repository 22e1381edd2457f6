"""A context vector beside the input, for learners that adapt it instead of weights (CAVIA)."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from quickstudy.errors import ModelError


class WithContext(nn.Module):
    """`module` applied to inputs that carry a context vector of `size` numbers, a buffer that starts at zero.

    Vectors (n, D) become (n, D + size); images (n, C, H, W) become (n, C + size, H, W) with constant planes. The module
    must be built for that many inputs.
    """

    context: Tensor

    def __init__(self, module: nn.Module, size: int) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("context", torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        shape = (x.shape[0], self.context.shape[0], *x.shape[2:])
        planes = self.context.reshape(1, -1, *[1] * (x.dim() - 2)).expand(shape)
        return cast(Tensor, self.module(torch.cat([x, planes], dim=1)))


class FiLM(nn.Module):
    """A copy of `module` with one layer scaled and shifted by channel, as a linear function of a context vector.

    Feature-wise linear modulation as CAVIA uses it in convolutional networks (Zintgraf et al. 2019, section 3.3):
    h ← (1 + γ(context)) · h + β(context). path: of that layer. channels: of its output (n, channels, …).
    """

    context: Tensor

    def __init__(self, module: nn.Module, path: str, channels: int, size: int = 100) -> None:
        super().__init__()
        paths = [name for name, _ in module.named_modules()]
        if path not in paths:
            raise ModelError(f"The module has no layer {path!r}. Its layers are: {', '.join(p for p in paths if p)}.")
        self.module, self.modulation = copy.deepcopy(module), nn.Linear(size, 2 * channels)
        self.register_buffer("context", torch.zeros(size))
        self.module.get_submodule(path).register_forward_hook(_Modulate(self))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.module(x))


class _Modulate:
    """FiLM's forward hook. Copied with the module tree, it finds its owner's copy, so copies modulate themselves."""

    def __init__(self, owner: FiLM) -> None:
        self._owner = [owner]

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        owner = self._owner[0]
        scale, shift = cast(Tensor, owner.modulation(owner.context)).chunk(2)
        axes = (-1, *[1] * (output.dim() - 2))
        return (1 + scale.reshape(axes)) * output + shift.reshape(axes)
