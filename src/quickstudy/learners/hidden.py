"""What a network has beside φ and its input that its answers or gradients depend on: found by calls, and refused."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from quickstudy import rng
from quickstudy.entries import CONSTANT, PARAMETER, prefixed
from quickstudy.episode import Features, Params, map_features
from quickstudy.errors import ModelError
from quickstudy.learners.chance import Drawing
from quickstudy.learners.copies import Attributes
from quickstudy.learners.network import Network

_ASKED = ("shape", "dtype", "device", "ndim", "is_cuda", "requires_grad", "is_leaf", "layout")
_FAILURES = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)


class Unregistered(TorchFunctionMode):
    """Within it, notices parameters that a network computes with and that are not lent to it, so not in φ."""

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[int, Tensor] = {}
        self._made: dict[int, Tensor] = {}  # in the call itself, to be differentiated there

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        asked = getattr(function, "__name__", "") == "__get__" and function.__self__.__name__ in _ASKED
        for one in () if asked else _tensors((args, kwargs or {})):
            if (isinstance(one, nn.Parameter) or (one.requires_grad and one.is_leaf)) and id(one) not in self._made:
                self._found[id(one)] = one
        result = function(*args, **(kwargs or {}))
        for one in _tensors((result, args if function is Tensor.requires_grad.__set__ else ())):  # type: ignore[attr-defined]
            if one.is_leaf and id(one) not in self._found:
                self._made[id(one)] = one
        return result

    def refuse(self) -> None:
        """ModelError if there were some."""
        if self._found:
            shapes = ", ".join(str(tuple(one.shape)) for one in list(self._found.values())[:5])
            raise ModelError(
                f"The network computes with parameters that are not registered in it, of the shapes {shapes}: they "
                "would be neither trained nor stored. Hold layers in an nn.ModuleList, not in a list, and parameters "
                "in an nn.ParameterList; change what a layer does by a subclass or a hook, not by a function that is "
                "bound to the layer (layer.forward = …)."
            )


def refuse_mixing(
    network: Network, params: Params, x: Features, called: Callable[[Network, Params, Features, int], Tensor]
) -> None:
    """ModelError for a network whose answer for an input is another one where others are asked with it.

    Batch statistics of BatchNorm layers are known to do this, and said wherever results appear.
    """
    if network.transductive:
        return
    params = network.settled(params)
    together = called(network, params, x, 0)
    at = len(together) // 2  # it may be mixed with those before it only, or with those after it
    alone = called(network, params, map_features(lambda t: t[at : at + 1], x), 0)
    if alone.shape[1:] != together.shape[1:] or alone.shape[:1] != (1,):
        raise ModelError(
            f"The network gives {tuple(together.shape)} for {len(together)} inputs, but {tuple(alone.shape)} for one "
            "by itself. Queries come in any number: keep the first axis, as by x.flatten(1) in place of x.squeeze()."
        )
    if not _close(alone, together[at : at + 1], 1e-2):
        raise ModelError(
            "What the network answers for one input depends on the other inputs that it is asked with: it mixes "
            "examples, as nn.MultiheadAttention, nn.Transformer and recurrent layers do with batch_first=False, and "
            "as a mean over the first axis does. Answers would change with their company: build such layers with "
            "batch_first=True, and normalise by nn.BatchNorm or nn.LayerNorm."
        )


def refuse_memory(network: Network, params: Params, x: Features, answered: Tensor) -> None:
    """ModelError where a copy that was never called answers otherwise than the network, which was called before."""
    if not _close(network.run(network.holding(params), x), answered, 1e-4):
        raise ModelError(
            "What the network answers depends on what it was asked before, or with which parameters: it keeps "
            "something between calls, such as weights that it computes once in `eval()` mode. Compute that in each "
            "call, or hold it in a buffer that is changed only where `self.training` is true."
        )


def refuse_state(network: Network, params: Params, x: Features, answered: Tensor) -> None:
    """ModelError for a network that draws, or keeps a state, otherwise than by PyTorch's draws and in buffers.

    answered: what it answers after training.
    """
    held = prefixed(PARAMETER, params) | prefixed(CONSTANT, params)
    module = network.as_trained.new({name: value.clone() for name, value in held.items()})
    begin, numpy = Attributes(module), sys.modules.get("numpy")
    python, array = random.getstate(), numpy.random.get_state() if numpy else ()
    try:
        draws, outputs = _draws(network, x), []
        for _ in range(2):
            with torch.no_grad(), _drawing(network, x):
                outputs.append(_called(network, module, x))
            _put_back(module, held)
        drawn = random.getstate() != python or (numpy is not None and str(numpy.random.get_state()) != str(array))
        changed = begin.changed()
        with torch.no_grad():
            after = network.run(module.eval(), x)
    finally:
        random.setstate(python)
        if numpy is not None:
            numpy.random.set_state(array)
    if drawn:
        raise ModelError(
            "The network draws at random by Python's random or by NumPy, which cannot be made to repeat. Draw by "
            "torch.rand, torch.randn or torch.bernoulli instead, where `self.training` is true, or switch it off."
        )
    same = all(_close(one, other, 1e-4) for one, other in zip(*map(list, map(_tensors, outputs)), strict=True))
    if not same or not _close(after, answered, 1e-4):
        where = f" (in {', '.join(changed[:4])})" if changed else ""
        raise ModelError(
            f"While it is trained, the network keeps something between calls that is in no buffer{where}, or draws "
            "otherwise than by PyTorch: two calls with the same draws differ, or what it answers afterwards. Hold "
            "such a state in a buffer (register_buffer), which follows once for each outer step, and draw by "
            "torch.rand, torch.randn or torch.bernoulli."
        )
    if draws and not isinstance(outputs[0], Tensor):
        raise ModelError(
            f"The network gives a {type(outputs[0]).__name__} while it is trained, but one tensor (n, …) is needed, as "
            "after training. Let it give the same whether `self.training` is true or not."
        )


def refuse_other_gradients(network: Network, params: Params, x: Features) -> None:
    """ModelError for networks without a gradient, and for those that compute parts again in the backward pass: they do
    so with other parameters than were lent to them, and with other draws."""
    names = [n for n, v in network.movable(params).items() if v.is_floating_point()]
    if not names:
        return
    generator, own = torch.Generator().manual_seed(0), prefixed(PARAMETER, params)
    others = [own[name] + 0.1 * torch.randn(own[name].shape, generator=generator) for name in names]
    constants = prefixed(CONSTANT, params)

    def lent(sources: Sequence[Tensor]) -> Tensor:
        return network(params, x, dict(zip(names, sources, strict=True)))

    def held(sources: Sequence[Tensor]) -> Tensor:
        return network.run(network.holding(params, dict(zip(names, sources, strict=True))), x)

    def values(sources: Sequence[Tensor]) -> dict[str, Tensor]:
        return own | {n: v.clone() for n, v in constants.items()} | dict(zip(names, sources, strict=True))

    def lent_in_training(sources: Sequence[Tensor]) -> Tensor:
        module = network.as_trained.new()
        given, named = network.arguments(module, x)
        with _drawing(network, x):
            output: Tensor = torch.func.functional_call(module, values(sources), given, named)
        return output

    def held_in_training(sources: Sequence[Tensor]) -> Tensor:
        with _drawing(network, x):
            output: Tensor = _called(network, network.as_trained.new(values(sources)), x)
        return output

    ways = [(lent, held)]
    if _draws(network, x):
        ways.append((lent_in_training, held_in_training))
    for one, other in ways:
        _refuse_differing(names, *(_slopes(way, others, seed) for seed, way in enumerate((one, other))))


def _slopes(call: Callable[[Sequence[Tensor]], Tensor], values: list[Tensor], seed: int) -> tuple[Tensor, ...]:
    sources = [value.clone().requires_grad_() for value in values]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.default_generator.manual_seed(seed)  # so that what is drawn again, and not by a key, is another
        try:
            output = call(sources)
            total = (output.float() * torch.linspace(0.5, 1.5, output.numel()).reshape(output.shape)).sum()
            if total.requires_grad:
                return torch.autograd.grad(total, sources, allow_unused=True, materialize_grads=True)
        except _FAILURES as error:
            raise ModelError(
                f"The gradient of the network cannot be computed: {type(error).__name__}: {error!s:.300}. What is "
                "computed under torch.inference_mode belongs under torch.no_grad, and gradient checkpointing must be "
                "off, as by module.gradient_checkpointing_disable(): the engine saves memory by itself."
            ) from error
    raise ModelError(
        "No gradient of the network's output reaches its parameters: it is computed under torch.no_grad, or detached. "
        "Take this out where it is to be trained, or freeze it: module.requires_grad_(False)."
    )


def _refuse_differing(names: list[str], slopes: Sequence[Tensor], others: Sequence[Tensor]) -> None:
    for name, one, other in zip(names, slopes, others, strict=True):
        if not bool(torch.isfinite(other).all()):
            return  # what was made up is none of its inputs
        if not torch.allclose(one, other, rtol=1e-2, atol=1e-4 * float(other.abs().max().clamp(min=1e-6))):
            raise ModelError(
                f"The gradient of {name!r} depends on how the network is called: it computes parts again in the "
                "backward pass (gradient checkpointing), with other parameters, or other draws, than those of the "
                "forward pass. Switch that off, as by module.gradient_checkpointing_disable(); the engine saves memory "
                "by itself."
            )


def _draws(network: Network, x: Features) -> bool:
    """Whether it draws while it is trained. ModelError for one that cannot be called so."""
    try:
        return network.nature(x).draws
    except ModelError:
        raise
    except _FAILURES as error:
        raise ModelError(
            f"The network cannot be called while `self.training` is true, with inputs only: {type(error).__name__}: "
            f"{error!s:.300}. Let it take the same then as after training; losses are the learner's."
        ) from error


def _drawing(network: Network, x: Features) -> AbstractContextManager[Any]:
    """A mode in which it draws the same each time; none where nothing is drawn."""
    return Drawing(rng.key(0)) if _draws(network, x) else nullcontext()


def _called(network: Network, module: nn.Module, x: Features) -> Any:
    given, named = network.arguments(module, x)
    return module(*given, **named)


def _put_back(module: nn.Module, values: Params) -> None:
    """Let the buffers be as they were."""
    for path, layer in module.named_modules():
        for name in layer._buffers:
            if (full := f"{path}.{name}".lstrip(".")) in values:
                layer._buffers[name] = values[full].clone()


def _close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    """Whether two answers are the same, but for rounding; `tolerance` is a part of the largest number."""
    one, other = one.detach().double().nan_to_num(), other.detach().double().nan_to_num()
    return one.shape == other.shape and bool(
        ((one - other).abs() <= tolerance * other.abs().max() if other.numel() else torch.ones(())).all()
    )


def _tensors(values: Any) -> Iterator[Tensor]:
    """All tensors in an object of mappings and sequences."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, Mapping | tuple | list):
        parts: Iterable[Any] = values.values() if isinstance(values, Mapping) else values
        for value in parts:
            yield from _tensors(value)
