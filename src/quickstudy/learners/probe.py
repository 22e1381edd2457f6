"""What a network of the user's own does when it is called: what would be silently wrong is refused beforehand."""

from __future__ import annotations

import logging
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
from quickstudy.learners.given import tensors_of
from quickstudy.learners.hidden import (
    Unregistered,
    refuse_memory,
    refuse_mixing,
    refuse_other_gradients,
    refuse_state,
)
from quickstudy.learners.iterative import IterativeLearner
from quickstudy.learners.network import Network

_log = logging.getLogger("quickstudy")
_WRAP = "None of its parts is a tensor: give a module of your own that calls it, and returns the tensor."
_ODD = (torch.float16, torch.bfloat16, torch.float64)
_followed: WeakKeyDictionary[Network, bool] = WeakKeyDictionary()


def probe(network: Network, format: Format, x: Features | None = None) -> None:
    """Call the network some times on made-up inputs of this format, or on x (n, …).

    Raises ModelError, with what to do, for one that cannot take such inputs, gives no tensor (n, …) of numbers, changes
    its buffers, answers otherwise at each call, or for an input by the others in the batch, or not by its parameters,
    or by parameters that are not registered; and for one whose gradients are others than those of its answers.
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
        _refuse_answers(first, len(leaves(x)[0]))
        own = prefixed(PARAMETER, params)
        others = {name: value + torch.randn(value.shape).to(value) for name, value in own.items()}
        moved = params | with_prefix(PARAMETER, others)
        with Unregistered() as unregistered:
            second = _called(network, moved, x, 0)
        if own and torch.equal(first, second):
            raise ModelError(
                "What the network answers does not depend on its parameters, so that training would change nothing. "
                "Parameters must be registered (in an nn.ParameterList, not in a list), and be the ones that its "
                "forward uses."
            )
        unregistered.refuse()
        refuse_mixing(network, params, x, _called)
        if not network.plain:
            refuse_memory(network, moved, x, second)
    if not network.plain:
        refuse_state(network, params, x, first)
        refuse_other_gradients(network, params, x)


def _refuse_answers(output: Tensor, count: int) -> None:
    """Answers that no learner could use: not one for each input, or not numbers that have a gradient."""
    if output.shape[:1] != (count,):
        raise ModelError(
            f"The network gives an output of the shape {tuple(output.shape)} for {count} inputs, but its first axis "
            "must be that of the inputs: (n, …). Transpose it, or say by output=NAME which part of it is meant."
        )
    if not output.is_floating_point():
        raise ModelError(
            f"The network gives an output of {str(output.dtype).removeprefix('torch.')}, which has no gradient. Let it "
            "give the numbers that this is made of, before argmax, a comparison or rounding."
        )


def _refuse_kinds(module: nn.Module) -> None:
    """Modules that cannot be called with other parameters than their own, or not in single precision."""
    kinds = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    wrapped = next(((path, m) for path, m in module.named_modules() if isinstance(m, kinds)), None)
    if wrapped is not None:
        path, wrapper = wrapped
        raise ModelError(
            f"{f'The layer {path}' if path else 'The network'} is wrapped in {type(wrapper).__name__}, which spreads "
            f"it by itself. Give the network inside, {path or 'module'}.module; several processes train "
            "together under torchrun."
        )
    scripted = next((path for path, m in module.named_modules() if isinstance(m, torch.jit.ScriptModule)), None)
    if scripted is not None:
        raise ModelError(
            f"The layer {scripted or '(the module itself)'} is compiled by TorchScript, which runs with its own "
            "parameters only. Give the module that it was compiled from."
        )
    drawing = next((n for m in module.modules() for n, v in vars(m).items() if isinstance(v, torch.Generator)), None)
    if drawing is not None:
        raise ModelError(
            f"The network holds a torch.Generator, {drawing!r}, by which draws could not be made to repeat. Draw "
            "without one: in training, draws follow from the seed by themselves."
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


def made_up(network: Network, format: Format, count: int) -> Features:
    """Inputs (count, …) of a format, each another one: random numbers in [0, 1); of whole numbers, ones up to some
    place and then zeros, as masks have them."""
    generator = torch.Generator().manual_seed(0)

    def drawn(leaf: Tensor) -> Tensor:
        part = torch.arange(1, count + 1) / count
        if leaf.is_floating_point():
            return (torch.rand(leaf.shape, generator=generator) * part.reshape(-1, *[1] * (leaf.dim() - 1))).to(leaf)
        if leaf.dim() == 1:
            return torch.ones_like(leaf)
        places = torch.arange(leaf.shape[-1]) < (part * leaf.shape[-1]).ceil()[:, None]
        return places.reshape(count, *[1] * (leaf.dim() - 2), -1).expand(leaf.shape).to(leaf.dtype)

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
        names = list(tensors_of(output))
        raise ModelError(
            f"The network gives a {type(output).__name__}, but one tensor (n, …) is needed. "
            + (f"Say which part is meant: output={' or '.join(map(repr, names[:9]))}." if names else _WRAP)
        )
    return output


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


def probe_learning(learner: Learner) -> None:
    """Let a learner take one inner step on a made-up support set. ModelError for a network that inner loops cannot
    differentiate."""
    if learner.plain or not isinstance(learner, IterativeLearner):
        return
    params, key = learner.init(torch.Generator().manual_seed(0)), torch.zeros((), dtype=torch.int64)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), chances(key):
            learner.with_steps(1).adapt(params, _made_up_examples(learner, reference(params)))
    except RuntimeError as error:
        raise ModelError(
            f"An inner loop cannot differentiate this network: {str(error).split(chr(10))[0]:.300} A "
            "torch.autograd.Function needs a forward without ctx and a setup_context; gradients that are taken inside "
            "a forward are to be those of torch.func. Or choose a learner without inner steps, such as protonet."
        ) from error


def _made_up_examples(learner: Learner, like: Tensor) -> Examples:
    spec = learner.spec
    count = max(2, spec.ways)
    y = torch.zeros((count, *spec.target.shape), dtype=torch.int64 if spec.ways else like.dtype)
    return Examples(made_up(learner.network, spec.format, count), y, torch.ones(count, dtype=torch.bool))


def vmaps_learning(learner: Learner) -> bool:
    """Whether `vmap` can follow all that a learner does with its networks; where it cannot, a line says why."""
    init = learner.init(torch.Generator().manual_seed(0))
    one = _made_up_examples(learner, reference(init))
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
