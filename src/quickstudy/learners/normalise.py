"""BatchNorm without hidden state."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from quickstudy import rng
from quickstudy.episode import Params
from quickstudy.errors import ModelError
from quickstudy.learners.copies import copied
from quickstudy.models.given import keep_mark

_HOOKS = ("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs")
_OURS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_SPACE: tuple[tuple[type[nn.Module], tuple[int, ...]], ...] = (
    (nn.BatchNorm1d, ()), (nn.BatchNorm2d, (2, 2)), (nn.BatchNorm3d, (2, 2, 2)), (_BatchNorm, (2, 2)),
)  # fmt: skip


def _refuse_one(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    if inputs[0].numel() == inputs[0].shape[1]:
        raise ModelError(
            "One input by itself cannot be normalised by the batch that it is in. Ask for several at once; or "
            "train with averages over training tasks (norm='running', or 'per_step' in inner loops)."
        )


class _Normalise(nn.Module):
    """BatchNorm without hidden state: it normalises by its running mean and variance if it has them, else by the
    batch."""

    running_mean: Tensor | None
    running_var: Tensor | None

    def __init__(self, layer: _BatchNorm, stored: bool) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = layer.weight, layer.bias, layer.eps
        _give_statistics(self, layer, stored)

    def reset_parameters(self) -> None:
        if self.weight is not None:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        by_batch = self.running_mean is None
        if by_batch:
            _refuse_one(self, (x,))
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, by_batch, 0.0, self.eps)


def _give_statistics(layer: nn.Module, like: _BatchNorm, stored: bool) -> None:
    zeros = torch.zeros(like.num_features)
    layer.register_buffer("running_mean", zeros if stored else None, persistent=False)
    layer.register_buffer("running_var", zeros + 1 if stored else None, persistent=False)


def _without_own(layer: _BatchNorm, stored: bool) -> _BatchNorm:
    """The layer, of a subclass whose forward is another than PyTorch's, told by PyTorch's own signs what to normalise
    by, always: its statistics if it is given them, else the batch; in place."""
    _give_statistics(layer, layer, stored)
    layer.num_batches_tracked = None
    layer.track_running_stats = stored
    if stored:
        layer.training = False
    else:
        layer.register_forward_pre_hook(_refuse_one)
    return layer


def _is_ours(layer: nn.Module) -> bool:
    return type(layer) in _OURS and "forward" not in vars(layer)


def without_state(module: nn.Module, stored: tuple[str, ...]) -> nn.Module:
    """A copy of `module` whose BatchNorm layers keep no state; those at the paths `stored` are given statistics."""
    root = nn.Sequential(copied(module))
    replaced: dict[nn.Module, nn.Module] = {}
    for path, layer in list(root[0].named_modules(remove_duplicate=False)):
        if not isinstance(layer, _BatchNorm):
            continue
        if not _is_ours(layer):
            replaced[layer] = replaced.get(layer) or _without_own(layer, path in stored)
            continue
        parent, _, name = f"0.{path}".rstrip(".").rpartition(".")
        new = replaced.setdefault(layer, _Normalise(layer, path in stored))
        keep_mark(layer, new)
        for hooks in _HOOKS:
            setattr(new, hooks, getattr(layer, hooks))
        setattr(root.get_submodule(parent), name, new)
    return root[0]


def refuse_other_normalisation(path: str, layer: nn.Module) -> None:
    """ModelError for a subclass of BatchNorm that does not normalise what enters it, as it is told by PyTorch's own
    signs: by the batch without running averages, and by these where it has them."""
    if not isinstance(layer, _BatchNorm) or _is_ours(layer):
        return
    space = next(space for kind, space in _SPACE if isinstance(layer, kind))
    like = next(layer.parameters(), torch.zeros(()))
    x = (1 + 2 * rng.normal(rng.key(0), (8, layer.num_features, *space))).to(like)
    axes = (0, *range(2, x.dim()))
    moments = {"running_mean": x.mean(axes), "running_var": x.var(axes, unbiased=False)}
    told, error = [], "its answers differ from what that gives"
    try:
        with torch.no_grad():
            whole = copy.deepcopy(layer).eval()
            for given in (whole, _without_own(copy.deepcopy(layer), True).eval()):
                for name, value in moments.items() if given.running_mean is not None else ():
                    setattr(given, name, value)
                told.append(given.forward(x))
            told.append(_without_own(copy.deepcopy(layer), False).eval().forward(x))
        same = all(torch.allclose(told[1], other, rtol=1e-3, atol=1e-3) for other in told)
    except (RuntimeError, ValueError, TypeError, AttributeError) as caught:
        same, error = False, f"{type(caught).__name__}: {caught}"
    if not same:
        raise ModelError(
            f"Layer {path} ({type(layer).__name__}) is a BatchNorm with a forward of its own, which does not normalise "
            f"what enters it by the batch, or by running averages where it has them ({error:.200}). Put nn.BatchNorm "
            "in its place, with what else it does in a layer before or after it."
        )


def as_buffers(statistics: Params) -> Params:
    """Statistics, by the names of NORMALISATION, under the names of BatchNorm's buffers.

    >>> list(as_buffers({"1.mean": torch.zeros(3), "1.variance": torch.ones(3)}))
    ['1.running_mean', '1.running_var']
    """
    own = {"mean": "running_mean", "variance": "running_var"}
    split = ((name.rpartition("."), value) for name, value in statistics.items())
    return {f"{layer}{dot}{own[which]}": value for (layer, dot, which), value in split}


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
