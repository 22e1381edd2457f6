"""A user's `nn.Module` as a pure function of φ, with an explicit policy for normalisation."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal
from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from quickstudy.brief import Brief
from quickstudy.entries import CONSTANT, NORMALISATION, PARAMETER, names_a_network, prefixed, with_prefix
from quickstudy.episode import Features, Params
from quickstudy.errors import ModelError
from quickstudy.formats.base import Format
from quickstudy.formats.passing import nothing_for
from quickstudy.learners.chance import Drawing, apart, chance
from quickstudy.learners.copies import Copies, copied
from quickstudy.learners.fresh import draw, resets, undrawn
from quickstudy.learners.listening import last_called, recorded, recording, refreshes, refreshing
from quickstudy.learners.moments import Moments
from quickstudy.learners.nature import PLAIN, Nature, nature, refuse_hidden
from quickstudy.learners.normalise import as_buffers, own_statistics, refuse_other_normalisation, refuse_statistics
from quickstudy.learners.pools import NOBODY, Pools, Watch

Norm = Literal["running", "batch", "per_step", "given"]
"""What BatchNorm layers normalise by.

'running': the batch while training, averages over training tasks afterwards (inductive; not inside an inner loop).
'batch': always the batch at hand, so a query's prediction depends on the other queries (transductive).
'per_step': as 'running', with averages, scales and shifts of its own for every inner step (MAML++, Antoniou 2019).
'given': the averages that the module came with, in training too, as of an encoder that was trained elsewhere.
"""

_DRAWING = threading.RLock()  # layers draw their weights from one generator, which all threads share
_NOTHING = "(nothing)"


@dataclass(frozen=True, eq=False)
class Network(Brief):
    """`network(φ, x)` runs the module with the parameters in φ; the module itself is never changed. Many threads may
    call one network at once.

    norm: see `Norm`. steps: number of inner steps, for 'per_step'. inner_loop: the network is differentiated inside an
    inner loop, where tracked statistics are refused. name: of a learner's second network, which stands before the names
    of its entries in φ; the first has none. part: φ has entries of more than this module, which are passed over. Raises
    ModelError for modules that cannot be pure functions.

    >>> relation = Network(nn.Linear(2, 1), name="relation")
    >>> list(relation.init(torch.Generator()))
    ['relation.network.weight', 'relation.network.bias']
    """

    module: nn.Module
    norm: Norm = "running"
    steps: int = 0
    inner_loop: bool = False
    name: str = ""
    part: bool = False
    _pools: Pools = field(init=False, repr=False)
    _natures: list[Nature] = field(init=False, repr=False, default_factory=list)
    layers: tuple[str, ...] = field(init=False, repr=False)
    """The BatchNorm layers that normalise by calibrated statistics after training."""
    transductive: bool = field(init=False)
    """Whether the output for one input depends on the other inputs in the batch after training."""
    _head: list[str] = field(init=False, repr=False, default_factory=list)
    _shapes: dict[Format, tuple[int, ...]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.name and not names_a_network(self.name):
            raise ModelError(
                f"A network cannot be called {self.name!r}, which stands before other entries of φ or has a dot in it. "
                "Choose another name, such as 'relation'."
            )
        for path, layer in self.module.named_modules():
            self._refuse(path or "(the module itself)", layer)
        norms = {p: m for p, m in self.module.named_modules() if isinstance(m, _BatchNorm)}
        layers = tuple(p for p, m in norms.items() if m.track_running_stats and self.norm != "batch")
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "transductive", len(layers) < len(norms))
        object.__setattr__(self, "_pools", Pools(self.module, layers, self.inner_loop))

    def _refuse(self, path: str, layer: nn.Module) -> None:
        if isinstance(layer, nn.modules.lazy.LazyModuleMixin) and layer.has_uninitialized_params():
            raise ModelError(f"Layer {path} ({type(layer).__name__}) has no shape yet. Run the module on an input.")
        refuse_hidden(path, layer)
        refuse_other_normalisation(path, layer)
        refuse_statistics(path, layer, self.inner_loop and self.norm == "running")

    @property
    def plain(self) -> bool:
        """Whether it is known to draw nothing and to change nothing when it is called."""
        return self._pools.plain

    @property
    def prefix(self) -> str:
        """What stands before the names of its entries in φ and ψ."""
        return f"{self.name}." if self.name else ""

    def own(self, params: Params) -> Params:
        """Its entries in φ, or what replaces them in ψ, without its name."""
        return prefixed(self.prefix, params) if self.name else params

    @cached_property
    def frozen(self) -> frozenset[str]:
        """The entries of φ, without the network's name, that nothing moves: its author has frozen them
        (`requires_grad`)."""
        return frozenset(PARAMETER + n for n, value in self.module.named_parameters() if not value.requires_grad)

    def movable(self, params: Params) -> Params:
        """The parameters in φ, without prefix, that are not frozen."""
        return {n: v for n, v in prefixed(PARAMETER, self.own(params)).items() if PARAMETER + n not in self.frozen}

    @property
    def drawn(self) -> bool:
        """Whether `init` draws anything: not where all layers were given with their weights, or have none."""
        return any(map(resets, self._pools.by_batch.module.modules()))

    @property
    def undrawn(self) -> list[str]:
        """The parameters, without prefix, that `init` leaves as the module came with them."""
        return list(undrawn(self._pools.by_batch.module))

    def init(self, generator: torch.Generator) -> Params:
        """Fresh φ entries: 'network.*', and 'constant.*' for buffers, after the network's name if it has one.

        Layers with `reset_parameters`, and attention, are drawn from `generator`, but for those that were given with
        their weights (see `quickstudy.models.given`); all others are as they came.
        """
        module = copied(self._pools.by_batch.module)
        module = module.cpu()  # so that one generator decides, wherever it is
        seed = int(torch.randint(2**62, (), generator=generator))
        with _DRAWING, torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the accelerators' as well
            draw(module)
        params = {name: value.detach().clone() for name, value in module.named_parameters()}
        if self.norm == "per_step":
            slots = self.steps + 1
            params = {n: v.expand(slots, *v.shape).clone() if self.per_step(n) else v for n, v in params.items()}
        constants = {name: value.detach().clone() for name, value in module.named_buffers()}
        if not params and not constants:
            constants[_NOTHING] = torch.zeros(())  # φ says where it is and in which precision, even where it is empty
        own = with_prefix(PARAMETER, params) | with_prefix(CONSTANT, constants)
        kept = own_statistics(self.module, self.layers) if self.norm == "given" else {}
        return with_prefix(self.prefix, own | with_prefix(NORMALISATION, kept))

    def per_step(self, name: str) -> bool:
        """Whether parameter `name` has a leading axis over inner steps."""
        return self.norm == "per_step" and name.rpartition(".")[0] in self.layers

    def __call__(self, params: Params, x: Features, task: Params | None = None, step: Tensor | None = None) -> Tensor:
        """The module's output for x (n, *features), of which several tensors are given to it by their names.

        task: entries that replace those of φ, without prefix but for the name of a second network; those of other
        networks are passed over. step: () int64, the inner step, for 'per_step'.
        """
        with nullcontext() if self.plain or step is None else apart(step), self._apart():
            return self._run(*self._bound(params, task, step), x)

    def _apart(self) -> AbstractContextManager[None]:
        """A second network draws otherwise than the first."""
        return apart(crc32(self.name.encode())) if self.name and not self.plain else nullcontext()

    def nature(self, x: Features) -> Nature:
        """What else the module does when it is called on inputs like x while it is trained."""
        if not self.plain and not self._natures:
            self._natures.append(nature(self._pools.by_batch, x))
        return PLAIN if self.plain else self._natures[0]

    @property
    def as_trained(self) -> Copies:
        """Copies of the module in the mode that it is trained in, if it draws then."""
        return self._pools.by_batch

    def settled(self, params: Params) -> Params:
        """φ with the averages that the module came with for all BatchNorm layers that calibration would give some."""
        return params | with_prefix(self.prefix + NORMALISATION, own_statistics(self.module, self.layers))

    @property
    def still(self) -> bool:
        """Whether it is known that no call changes a buffer."""
        return self.plain or any(not nature.changes for nature in self._natures)

    def _changed(self, values: Params, x: Features, key: Tensor | None) -> Params:
        """The buffers that a call on x in training changes, after such a call. Other calls change none."""
        names = self.nature(x).changes
        if not names:
            return {}
        module = self._pools.by_batch.new(values | {n: values[n].clone() for n in names})
        given, named = self._pools.arguments(module, x)
        with torch.no_grad(), Drawing(key):
            module(*given, **named)
        after = dict(module.named_buffers())
        return {name: after[name] for name in names}

    def refreshing(self) -> AbstractContextManager[Params]:
        """Within it, this thread's first call of the network also finds the buffers that it changes, by name."""
        return refreshing(self)

    def _run(self, copies: Copies, values: dict[str, Any], x: Features, watch: Watch = NOBODY) -> Tensor:
        """The output for x of one of `copies` at these values; each of `watch` is told what enters a layer, by path."""
        if copies is self._pools.by_batch and (heard := recorded(self)) is not None:
            watch = (*watch, *((path, partial(heard.hear, path)) for path in self.layers))
        if not self.plain and (after := refreshes(self)) is not None and not after:
            after.update(self._changed(values, x, chance()))
        key = None if self.plain else chance()
        drawing = key is not None and self.nature(x).draws
        if drawing:
            values = values | {name: values[name].clone() for name in self.nature(x).changes}
        copies = copies if drawing else self._pools.resting(copies)
        return self._pools.call(copies, values, x, watch, Drawing(key) if drawing else None)

    def arguments(self, module: nn.Module, x: Features) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the module is called with: a copy of x, where it may work in place."""
        return self._pools.arguments(module, x)

    def holding(self, params: Params, task: Params | None = None, step: Tensor | None = None) -> nn.Module:
        """A copy of the module that holds the values it has when called with these, for `run`."""
        copies, values = self._bound(params, task, step)
        return self._pools.resting(copies).new(values)

    def run(self, holding: nn.Module, x: Features) -> Tensor:
        """The output of what `holding` gave for x (n, *features), as a call with its values gives it."""
        return self._pools.run(holding, x)

    def _bound(self, params: Params, task: Params | None, step: Tensor | None) -> tuple[Copies, dict[str, Any]]:
        """The copies of which one is to be called, and the values that its parameters and buffers take."""
        params = self.own(params)
        values: dict[str, Any] = prefixed(PARAMETER, params) | prefixed(CONSTANT, params)
        statistics = prefixed(NORMALISATION, params)
        if self.norm == "per_step":
            at = torch.zeros((), dtype=torch.int64, device=_device(params)) if step is None else step
            at = at.clamp(max=self.steps).reshape(1)
            values = {n: v.index_select(0, at)[0] if self.per_step(n) else v for n, v in values.items()}
            statistics = {n: v.index_select(0, at)[0] for n, v in statistics.items()}
        copies = self._pools.by_statistics if statistics else self._pools.by_batch
        if self.part:
            values = {n: v for n, v in values.items() if n in self.names}
            statistics = {n: v for n, v in statistics.items() if n.rpartition(".")[0] in self.layers}
        instead = {n: v for n, v in self.own(task).items() if n in self.names} if task else {}
        return copies, values | as_buffers(statistics) | instead

    @cached_property
    def names(self) -> frozenset[str]:
        """Of all parameters and buffers."""
        module = self._pools.by_batch.module
        both = (
            *module.named_parameters(remove_duplicate=False),
            *module.named_buffers(remove_duplicate=False),
        )
        return frozenset(name for name, _ in both)

    @property
    def head(self) -> str:
        """The path of the last layer that has parameters of its own; '' is the module itself. Last is what is called
        last, once `find_head` has looked; before, what is registered last."""
        if self._head:
            return self._head[0]
        layers = self.module.named_modules()
        return [str(path) for path, layer in layers if list(layer.parameters(recurse=False))][-1]

    def find_head(self, format: Format) -> None:
        """Find the head by calling the module on inputs of this format."""
        self._head[:] = [last_called(self._pools.by_batch.new(), nothing_for(self.module, format, 2), self.head)]

    def features(self, params: Params, x: Features, task: Params | None = None) -> Tensor:
        """What enters the head for x (n, *features), before the first inner step: (n, D)."""
        seen: list[Tensor] = []
        self._run(*self._bound(params, task, None), x, ((self.head, lambda _, inputs: seen.append(inputs[0])),))
        return seen[0].flatten(1)

    def output_shape(self, format: Format) -> tuple[int, ...]:
        """Shape of the output for one input of this format, found by running the module on two inputs of zeros."""
        if format not in self._shapes:
            params = self.init(torch.Generator().manual_seed(0))
            with torch.no_grad():
                output = self(params, nothing_for(self.module, format, 2))
            self._shapes[format] = tuple(output.shape[1:])
        return self._shapes[format]

    def recording(self, moments: Moments | None = None, prefix: str | None = None) -> AbstractContextManager[Moments]:
        """Within it, this thread's calls without statistics in φ record the moments of what enters BatchNorm layers.

        moments: records that are added to; new ones if not given. They are called as in φ, after the `prefix` of the
        network if no other is given.
        """
        under = (self.prefix if prefix is None else prefix) + NORMALISATION
        return recording(self, Moments() if moments is None else moments, under)


PASSING = Network(nn.Identity(), part=True)
"""Gives what it is given: of learners after their inputs were embedded."""


def _device(params: Params) -> torch.device:
    return next(iter(params.values())).device
