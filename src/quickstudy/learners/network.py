"""A user's `nn.Module` as a pure function of φ, with an explicit policy for normalisation."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from quickstudy.entries import CONSTANT, NORMALISATION, PARAMETER, prefixed, with_prefix
from quickstudy.episode import Features, Params
from quickstudy.errors import ModelError
from quickstudy.learners.cells import ElementaryCells, recurs
from quickstudy.learners.moments import Moments

Norm = Literal["running", "batch", "per_step"]
"""What BatchNorm layers normalise by.

'running': the batch while training, averages over training tasks afterwards (inductive; not inside an inner loop).
'batch': always the batch at hand, so a query's prediction depends on the other queries (transductive).
'per_step': as 'running', with averages, scales and shifts of its own for every inner step (MAML++, Antoniou 2019).
"""

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
        return F.batch_norm(x, self.mean, self.variance, self.weight, self.bias, by_batch, 0.0, self.eps)


def _functional(module: nn.Module, stored: tuple[str, ...]) -> nn.Module:
    """A copy of `module` whose BatchNorm layers keep no state; those at the paths `stored` are given statistics."""
    root = nn.Sequential(copy.deepcopy(module))
    replaced: dict[nn.Module, _Normalise] = {}
    for path, layer in list(root[0].named_modules(remove_duplicate=False)):
        if isinstance(layer, _BatchNorm):
            parent, _, name = f"0.{path}".rstrip(".").rpartition(".")
            new = replaced.setdefault(layer, _Normalise(layer, path in stored))
            for hooks in _HOOKS:
                setattr(new, hooks, getattr(layer, hooks))
            setattr(root.get_submodule(parent), name, new)
    return root[0]


@dataclass(frozen=True, eq=False)
class Network:
    """`network(φ, x)` runs the module with the parameters in φ; the module itself is never changed.

    norm: see `Norm`. steps: number of inner steps, for 'per_step'. inner_loop: the network is differentiated inside an
    inner loop, where tracked statistics are refused. pretrained: φ starts from the module's own weights instead of
    drawing every layer that has `reset_parameters` anew. Raises ModelError for modules that cannot be pure functions.
    """

    module: nn.Module
    norm: Norm = "running"
    steps: int = 0
    inner_loop: bool = False
    pretrained: bool = False
    _by_batch: nn.Module = field(init=False, repr=False)
    _by_statistics: nn.Module = field(init=False, repr=False)
    layers: tuple[str, ...] = field(init=False, repr=False)
    """The BatchNorm layers that normalise by calibrated statistics after training."""
    transductive: bool = field(init=False)
    """Whether the output for one input depends on the other inputs in the batch after training."""
    _recurs: bool = field(init=False, repr=False)
    _shapes: dict[tuple[int, ...], tuple[int, ...]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        for path, layer in self.module.named_modules():
            self._refuse(path or "(the module itself)", layer)
        norms = {p: m for p, m in self.module.named_modules() if isinstance(m, _BatchNorm)}
        layers = tuple(p for p, m in norms.items() if m.track_running_stats and self.norm != "batch")
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "transductive", len(layers) < len(norms))
        object.__setattr__(self, "_recurs", recurs(self.module))
        object.__setattr__(self, "_by_batch", _functional(self.module, ()))
        object.__setattr__(self, "_by_statistics", _functional(self.module, layers))

    def _refuse(self, path: str, layer: nn.Module) -> None:
        if isinstance(layer, nn.modules.lazy.LazyModuleMixin) and layer.has_uninitialized_params():
            raise ModelError(f"Layer {path} ({type(layer).__name__}) has no shape yet. Run the module on an input.")
        dropout = layer.p if isinstance(layer, _DropoutNd) else getattr(layer, "dropout", 0)  # as in nn.LSTM
        if isinstance(dropout, float) and dropout > 0:
            raise ModelError(
                f"Layer {path} is {type(layer).__name__} with dropout {dropout}, drawn from a hidden global generator: "
                "episodes would not repeat and a resumed run would differ. Set p=0 or replace it by nn.Identity(), and "
                "regularise with the source's augmentation or the optimizer's weight_decay."
            )
        if isinstance(layer, _InstanceNorm) and layer.track_running_stats:
            raise ModelError(
                f"Layer {path} is {type(layer).__name__} with running statistics, which change at every call. "
                "Build it with track_running_stats=False."
            )
        tracks = isinstance(layer, _BatchNorm) and layer.track_running_stats
        if tracks and self.inner_loop and self.norm == "running":
            raise ModelError(
                f"Layer {path} is {type(layer).__name__} with running statistics inside an inner loop: one average "
                "cannot serve the network before and after adaptation. Choose norm='batch' (batch statistics; answers "
                "then depend on the whole query set), norm='per_step' (statistics for every step), or replace the "
                "layer by nn.GroupNorm."
            )

    def init(self, generator: torch.Generator) -> Params:
        """Fresh φ entries: 'network.*' (drawn from `generator`, unless `pretrained`) and 'constant.*' (buffers)."""
        module = copy.deepcopy(self._by_batch).cpu()  # so that one generator decides, wherever the module is
        if not self.pretrained:
            seed = int(torch.randint(2**62, (), generator=generator))
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the accelerators' as well
                for layer in module.modules():
                    if callable(reset := getattr(layer, "reset_parameters", None)):
                        reset()
        params = {name: value.detach().clone() for name, value in module.named_parameters()}
        if self.norm == "per_step":
            slots = self.steps + 1
            params = {n: v.expand(slots, *v.shape).clone() if self.per_step(n) else v for n, v in params.items()}
        buffers = {name: value.detach().clone() for name, value in module.named_buffers()}
        return with_prefix(PARAMETER, params) | with_prefix(CONSTANT, buffers)

    def per_step(self, name: str) -> bool:
        """Whether parameter `name` has a leading axis over inner steps."""
        return self.norm == "per_step" and name.rpartition(".")[0] in self.layers

    def __call__(self, params: Params, x: Features, task: Params | None = None, step: Tensor | None = None) -> Tensor:
        """The module's output for x (n, *features).

        task: entries (without prefix) that replace those of φ. step: () int64, the inner step, for 'per_step'.
        """
        return self._run(*self._bound(params, task, step), x)

    def _run(self, module: nn.Module, values: dict[str, Any], x: Features) -> Tensor:
        with ElementaryCells(always=self.inner_loop) if self._recurs else nullcontext():
            output: Tensor = torch.func.functional_call(module, values, (x,))
        return output

    def _bound(self, params: Params, task: Params | None, step: Tensor | None) -> tuple[nn.Module, dict[str, Any]]:
        """The module to call, and the values that its parameters and buffers take."""
        values: dict[str, Any] = prefixed(PARAMETER, params) | prefixed(CONSTANT, params)
        statistics = prefixed(NORMALISATION, params)
        if self.norm == "per_step":
            at = torch.zeros((), dtype=torch.int64, device=_device(params)) if step is None else step
            at = at.clamp(max=self.steps).reshape(1)
            values = {n: v.index_select(0, at)[0] if self.per_step(n) else v for n, v in values.items()}
            statistics = {n: v.index_select(0, at)[0] for n, v in statistics.items()}
        module = self._by_statistics if statistics else self._by_batch
        return module, values | statistics | (task or {})

    @property
    def head(self) -> str:
        """The path of the last layer that has parameters of its own; '' is the module itself."""
        layers = self.module.named_modules()
        return [str(path) for path, layer in layers if list(layer.parameters(recurse=False))][-1]

    def features(self, params: Params, x: Features, task: Params | None = None) -> Tensor:
        """What enters the head for x (n, *features), before the first inner step: (n, D)."""
        module, values = self._bound(params, task, None)
        seen: list[Tensor] = []
        hook = module.get_submodule(self.head).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            self._run(module, values, x)
        finally:
            hook.remove()
        return seen[0].flatten(1)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output for one input, found by running the module on two inputs of zeros."""
        if input_shape not in self._shapes:
            params = self.init(torch.Generator().manual_seed(0))
            dtypes = [p.dtype for p in self.module.parameters()] or [torch.float32]
            with torch.no_grad():
                output = self(params, torch.zeros((2, *input_shape), dtype=dtypes[0]))
            self._shapes[input_shape] = tuple(output.shape[1:])
        return self._shapes[input_shape]

    @contextmanager
    def recording(self) -> Iterator[Moments]:
        """Within it, calls without statistics in φ record the moments of what enters each BatchNorm layer."""
        moments = Moments()
        hooks = [
            self._by_batch.get_submodule(path).register_forward_pre_hook(
                lambda _, inputs, path=path: moments.add(path, inputs[0].detach())
            )
            for path in self.layers
        ]
        try:
            yield moments
        finally:
            for hook in hooks:
                hook.remove()


def _device(params: Params) -> torch.device:
    return next(iter(params.values())).device
