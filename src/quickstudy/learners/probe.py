"""What a network of the user's own does when it is called: what would be silently wrong is refused beforehand."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from quickstudy.entries import CONSTANT, PARAMETER, prefixed, reference, with_prefix
from quickstudy.episode import Episode, Examples, Features, Params, leaves, map_episode, map_features
from quickstudy.errors import ModelError
from quickstudy.formats.base import Format
from quickstudy.formats.passing import nothing_for
from quickstudy.learners.base import Learner
from quickstudy.learners.chance import chances
from quickstudy.learners.network import Network

_log = logging.getLogger("quickstudy")
_ODD = (torch.float16, torch.bfloat16, torch.float64)
_followed: WeakKeyDictionary[Network, bool] = WeakKeyDictionary()


def probe(network: Network, format: Format, x: Features | None = None) -> None:
    """Call the network some times on made-up inputs of this format, or on x (n, …).

    Raises ModelError, with what to do, for one that cannot take such inputs, gives no tensor, changes its buffers,
    answers otherwise at each call, or not by its parameters.
    """
    params, x = network.init(torch.Generator().manual_seed(0)), made_up(network, format, 3) if x is None else x
    before = {name: value.clone() for name, value in params.items()}
    _refuse_kinds(network.module)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        first = _called(network, params, x, 0)
        _refuse_changes(before, params)
        if not torch.equal(first.nan_to_num(), _called(network, params, x, 1).nan_to_num()):
            raise ModelError(
                "The network draws at random even after training (in `eval()` mode): two calls with one input give "
                "different answers, which would not hold. Let it draw only where `self.training` is true, or switch "
                "off what draws."
            )
        own = prefixed(PARAMETER, params)
        others = {name: value + torch.randn(value.shape).to(value) for name, value in own.items()}
        if own and torch.equal(first, _called(network, params | with_prefix(PARAMETER, others), x, 0)):
            raise ModelError(
                "What the network answers does not depend on its parameters, so that training would change nothing. "
                "Parameters must be registered (in an nn.ParameterList, not in a list), and be the ones that its "
                "forward uses."
            )
    if not network.plain:
        _refuse_other_gradients(network, params, x)


def _refuse_kinds(module: nn.Module) -> None:
    """Modules that cannot be called with other parameters than their own, or not in single precision."""
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise ModelError(
            f"The network is wrapped in {type(module).__name__}, which spreads it by itself. Give the network inside, "
            "module.module; several processes train together under torchrun."
        )
    scripted = next((path for path, m in module.named_modules() if isinstance(m, torch.jit.ScriptModule)), None)
    if scripted is not None:
        raise ModelError(
            f"The layer {scripted or '(the module itself)'} is compiled by TorchScript, which runs with its own "
            "parameters only. Give the module that it was compiled from."
        )
    tensors = (*module.named_parameters(), *module.named_buffers())
    odd = next(((n, v.dtype) for n, v in tensors if v.is_complex() or v.dtype in _ODD), None)
    if odd is not None:
        raise ModelError(
            f"{odd[0]!r} of the network is {str(odd[1]).removeprefix('torch.')}, but inputs are float32, and so is φ. "
            + (
                "Hold complex numbers as pairs of real ones (torch.view_as_real)."
                if odd[1].is_complex
                else "Convert the network first: module.float(). It can run in bfloat16 by precision='bfloat16'."
            )
        )


def _refuse_other_gradients(network: Network, params: Params, x: Features) -> None:
    """Networks that compute parts again in the backward pass do so with other parameters than were lent to them."""
    names = [n for n, v in network.movable(params).items() if v.is_floating_point()]
    if not names:
        return
    generator, own = torch.Generator().manual_seed(0), prefixed(PARAMETER, params)
    others = [own[name] + 0.1 * torch.randn(own[name].shape, generator=generator) for name in names]
    lent = [value.clone().requires_grad_() for value in others]
    held = [value.clone().requires_grad_() for value in others]
    module = network.holding(params, dict(zip(names, held, strict=True)))
    outputs = network(params, x, dict(zip(names, lent, strict=True))), network.run(module, x)
    slopes = []
    for output, sources in zip(outputs, (lent, held), strict=True):
        weights = torch.linspace(0.5, 1.5, output.numel()).reshape(output.shape)
        total = (output.float() * weights).sum()
        if not total.requires_grad:
            return
        slopes.append(torch.autograd.grad(total, sources, allow_unused=True, materialize_grads=True))
    for name, one, other in zip(names, *slopes, strict=True):
        if not bool(torch.isfinite(other).all()):
            return  # what was made up is none of its inputs
        if not torch.allclose(one, other, rtol=1e-2, atol=1e-4 * float(other.abs().max().clamp(min=1e-6))):
            raise ModelError(
                f"The gradient of {name!r} depends on how the network is called: it computes parts again in the "
                "backward pass (gradient checkpointing), with other parameters than those of the forward pass. Switch "
                "that off, as by module.gradient_checkpointing_disable(); the engine saves memory by itself."
            )


def made_up(network: Network, format: Format, count: int) -> Features:
    """Inputs (count, …) of a format: random numbers, and ones where they are whole numbers, as masks have them."""
    generator = torch.Generator().manual_seed(0)

    def drawn(leaf: Tensor) -> Tensor:
        return torch.rand(leaf.shape, generator=generator).to(leaf) if leaf.is_floating_point() else leaf + 1

    return map_features(drawn, nothing_for(network.module, format, count))


def _called(network: Network, params: Params, x: Features, seed: int) -> Tensor:
    torch.default_generator.manual_seed(seed)
    try:
        output = network(params, x)
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError) as error:
        shapes = ", ".join(str(tuple(leaf.shape[1:])) for leaf in leaves(x))
        raise ModelError(
            f"The network cannot take an input of these tasks, of the shape {shapes}: {type(error).__name__}: {error}. "
            "Give another network, or tasks of another format."
        ) from error
    if not isinstance(output, Tensor):
        raise ModelError(
            f"The network gives a {type(output).__name__}, but one tensor (n, …) is needed. Say which part is meant: "
            f"output={_part_of(output)!r}."
        )
    return output


def _part_of(output: Any) -> str:
    """The name of a tensor among several, by which `output` finds it."""
    named = output.items() if isinstance(output, Mapping) else enumerate(output) if isinstance(output, tuple) else ()
    return next((str(name) for name, part in named if isinstance(part, Tensor)), "NAME")


def _refuse_changes(before: Params, params: Params) -> None:
    changed = [name for name, value in params.items() if not torch.equal(value.nan_to_num(), before[name].nan_to_num())]
    if changed:
        raise ModelError(
            f"A call of the network changes {', '.join(n.removeprefix(CONSTANT) for n in changed[:3])}, so that "
            "answers would depend on what was asked before, even after training (in `eval()` mode). Let it be changed "
            "only where `self.training` is true: it is then changed once for each outer step."
        )


def vmaps(network: Network, format: Format) -> bool:
    """Whether `vmap` can follow the network and its gradient; where it cannot, a line says why, once."""
    if network not in _followed:
        _followed[network] = _tried(network, format)
    return _followed[network]


def _tried(network: Network, format: Format) -> bool:
    params, x = network.init(torch.Generator().manual_seed(0)), made_up(network, format, 2)
    several = map_features(lambda t: torch.stack([t, t]), x)
    moving = {name: value for name, value in params.items() if name.startswith(PARAMETER) and value.is_floating_point()}

    def loss(moving: Params, x: Features, key: Tensor) -> Tensor:
        with chances(key):
            return network(params | moving, x).square().sum()

    try:
        keys = torch.arange(2)
        torch.func.vmap(torch.func.grad(loss) if moving else loss, in_dims=(None, 0, 0))(moving, several, keys)
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        _log.info("Tasks run one after another: vmap cannot follow this network (%s).", str(error).split("\n")[0][:200])
        return False
    return True


def vmaps_learning(learner: Learner) -> bool:
    """Whether `vmap` can follow all that a learner does with its networks; where it cannot, a line says why."""
    spec, init = learner.spec, learner.init(torch.Generator().manual_seed(0))
    count = max(2, spec.ways)
    x = made_up(learner.network, spec.format, count)
    like = reference(init)
    y = torch.zeros((count, *spec.target.shape), dtype=torch.int64 if spec.ways else like.dtype)
    one = Examples(x, y, torch.ones(count, dtype=torch.bool))
    moving = {name: value for name, value in init.items() if learner.moves(name)}

    def loss(moving: Params, episode: Episode, key: Tensor) -> Tensor:
        with chances(key):
            return learner.loss(init | moving, episode)

    several = map_episode(lambda t: torch.stack([t, t]), Episode(one, one))
    try:
        keys = torch.arange(2)
        torch.func.vmap(torch.func.grad(loss) if moving else loss, in_dims=(None, 0, 0))(moving, several, keys)
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        _log.info("Tasks run one after another: vmap cannot follow this learner (%s).", str(error).split("\n")[0][:200])
        return False
    return True
