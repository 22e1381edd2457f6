"""What a network of the user's own does when it is called: what would be silently wrong is refused beforehand."""

from __future__ import annotations

import logging
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from quickstudy.entries import CONSTANT, PARAMETER, prefixed, with_prefix
from quickstudy.episode import Features, Params, leaves, map_features
from quickstudy.errors import ModelError
from quickstudy.formats.base import Format
from quickstudy.formats.passing import nothing_for
from quickstudy.learners.network import Network

_log = logging.getLogger("quickstudy")
_followed: WeakKeyDictionary[Network, bool] = WeakKeyDictionary()


def probe(network: Network, format: Format) -> None:
    """Call the network some times on made-up inputs of this format.

    Raises ModelError, with what to do, for one that cannot take such inputs, gives no tensor, changes its buffers,
    answers otherwise at each call, or not by its parameters.
    """
    params, x = network.init(torch.Generator().manual_seed(0)), made_up(network, format, 3)
    before = {name: value.clone() for name, value in params.items()}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        first = _called(network, params, x, 0)
        _refuse_changes(before, params)
        if not torch.equal(first.nan_to_num(), _called(network, params, x, 1).nan_to_num()):
            raise ModelError(
                "The network draws at random: two calls with one input give different answers, so that runs would not "
                "repeat and answers would not hold. Switch off what draws (dropout, stochastic depth, noise): set its "
                "rate to 0 where you build the network."
            )
        own = prefixed(PARAMETER, params)
        others = {name: value + torch.randn(value.shape).to(value) for name, value in own.items()}
        if own and torch.equal(first, _called(network, params | with_prefix(PARAMETER, others), x, 0)):
            raise ModelError(
                "What the network answers does not depend on its parameters, so that training would change nothing. "
                "Parameters must be registered (in an nn.ParameterList, not in a list), and be the ones that its "
                "forward uses."
            )


def made_up(network: Network, format: Format, count: int) -> Features:
    """Inputs (count, …) of a format: random numbers, and zeros where they are whole numbers."""
    generator = torch.Generator().manual_seed(0)

    def drawn(leaf: Tensor) -> Tensor:
        return torch.rand(leaf.shape, generator=generator).to(leaf) if leaf.is_floating_point() else leaf

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
            f"The network gives a {type(output).__name__}, but one tensor (n, …) is needed. Wrap it in a module that "
            "returns the part you want."
        )
    return output


def _refuse_changes(before: Params, params: Params) -> None:
    changed = [name for name, value in params.items() if not torch.equal(value.nan_to_num(), before[name].nan_to_num())]
    if changed:
        raise ModelError(
            f"A call of the network changes {', '.join(n.removeprefix(CONSTANT) for n in changed[:3])}, so that "
            "answers would depend on what was asked before. Take away what updates it at each call, such as spectral "
            "normalisation or a running average of your own."
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

    def loss(moving: Params, x: Features) -> Tensor:
        return network(params | moving, x).square().sum()

    try:
        torch.func.vmap(torch.func.grad(loss) if moving else loss, in_dims=(None, 0))(moving, several)
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        _log.info("Tasks run one after another: vmap cannot follow this network (%s).", str(error).split("\n")[0][:200])
        return False
    return True
