"""BatchNorm without hidden state."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from quickstudy.episode import Params
from quickstudy.errors import ModelError
from quickstudy.models.given import keep_mark

_HOOKS = ("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs")


class _Normalise(nn.Module):
    """BatchNorm without hidden state: it normalises by `mean` and `variance` if it has them, else by the batch."""

    mean: Tensor | None
    variance: Tensor | None

    def __init__(self, layer: _BatchNorm, stored: bool) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = layer.weight, layer.bias, layer.eps
        like = torch.zeros(layer.num_features)
        self.register_buffer("mean", like if stored else None, persistent=False)
        self.register_buffer("variance", like + 1 if stored else None, persistent=False)

    def reset_parameters(self) -> None:
        if self.weight is not None:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        by_batch = self.mean is None
        if by_batch and x.numel() == x.shape[1]:
            raise ModelError(
                "One input by itself cannot be normalised by the batch that it is in. Ask for several at once; or "
                "train with averages over training tasks (norm='running', or 'per_step' in inner loops)."
            )
        return F.batch_norm(x, self.mean, self.variance, self.weight, self.bias, by_batch, 0.0, self.eps)


def without_state(module: nn.Module, stored: tuple[str, ...]) -> nn.Module:
    """A copy of `module` whose BatchNorm layers keep no state; those at the paths `stored` are given statistics."""
    root = nn.Sequential(copy.deepcopy(module))
    replaced: dict[nn.Module, _Normalise] = {}
    for path, layer in list(root[0].named_modules(remove_duplicate=False)):
        if isinstance(layer, _BatchNorm):
            parent, _, name = f"0.{path}".rstrip(".").rpartition(".")
            new = replaced.setdefault(layer, _Normalise(layer, path in stored))
            keep_mark(layer, new)
            for hooks in _HOOKS:
                setattr(new, hooks, getattr(layer, hooks))
            setattr(root.get_submodule(parent), name, new)
    return root[0]


def own_statistics(module: nn.Module, layers: tuple[str, ...]) -> Params:
    """The averages that the BatchNorm layers of a module came with, by the names of NORMALISATION."""
    statistics: Params = {}
    for path in layers:
        layer = module.get_submodule(path)
        assert isinstance(layer, _BatchNorm) and layer.running_mean is not None and layer.running_var is not None
        statistics |= {f"{path}.mean": layer.running_mean.clone(), f"{path}.variance": layer.running_var.clone()}
    return statistics


def refuse_statistics(path: str, layer: nn.Module, inside: bool) -> None:
    """ModelError for a layer whose running statistics cannot be kept. inside: it is to take averages in an inner
    loop."""
    if isinstance(layer, _InstanceNorm) and layer.track_running_stats:
        raise ModelError(
            f"Layer {path} is {type(layer).__name__} with running statistics, which change at every call. "
            "Build it with track_running_stats=False."
        )
    if inside and isinstance(layer, _BatchNorm) and layer.track_running_stats:
        raise ModelError(
            f"Layer {path} is {type(layer).__name__} with running statistics inside an inner loop: one average "
            "cannot serve the network before and after adaptation. Choose norm='batch' (batch statistics; answers "
            "then depend on the whole query set), norm='per_step' (statistics for every step), or replace the "
            "layer by nn.GroupNorm."
        )
