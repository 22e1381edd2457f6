"""What a module does when it is called, beside computing its output: what it draws, and which buffers it changes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from quickstudy import rng
from quickstudy.episode import Features, map_features
from quickstudy.errors import ModelError
from quickstudy.formats.passing import arguments
from quickstudy.learners.chance import Drawing
from quickstudy.learners.copies import Copies, is_foreign


class Nature(NamedTuple):
    """draws: at random while it is trained, as dropout does. changes: the buffers that a call while it is trained
    changes, as power iterations and averages do; by their names."""

    draws: bool = False
    changes: tuple[str, ...] = ()


PLAIN = Nature()


def spares(module: nn.Module) -> bool:
    """Whether the module is known to leave its inputs as they are, as layers do that do not work in place."""
    return is_plain(module) and not any(getattr(layer, "inplace", False) for layer in module.modules())


def is_plain(module: nn.Module) -> bool:
    """Whether all layers are of PyTorch or quickstudy, and none of them is known to draw or to keep a state."""
    return all(map(_is_plain, module.modules()))


def _is_plain(layer: nn.Module) -> bool:
    home = not is_foreign(layer) and "forward" not in vars(layer)
    hooks = layer._forward_hooks or layer._forward_pre_hooks or type(layer).__module__.startswith("torch.nn.utils")
    rate = layer.p if isinstance(layer, _DropoutNd) else getattr(layer, "dropout", 0)
    random = isinstance(layer, nn.RReLU | nn.FractionalMaxPool2d | nn.FractionalMaxPool3d)
    return home and not hooks and not random and not (isinstance(rate, float) and rate > 0)


def nature(copies: Copies, x: Features) -> Nature:
    """The nature of a module, found by calling a copy of it on made-up inputs like x (n, *features).

    Raises ModelError for draws that cannot be made to repeat.
    """
    state = {name: buffer.clone() for name, buffer in copies.module.named_buffers()}
    module = copies.new(state)
    where = next((t.device for t in (*module.parameters(), *module.buffers())), torch.device("cpu"))
    inputs = map_features(lambda t: _made_up(t).to(where), x)
    drawing = Drawing(rng.key(0, device=where))  # `vmap`, within which this may be called, takes no other draws
    with torch.no_grad(), drawing:
        given, named = arguments(module, inputs)
        module(*given, **named)
    after = dict(module.named_buffers())
    changes = tuple(name for name, buffer in copies.module.named_buffers() if _differ(buffer, after[name]))
    return Nature(drawing.drawn > 0, changes)


def _made_up(x: Tensor) -> Tensor:
    """Two inputs like x (n, …): random numbers in [0, 1), which change an average as zeros would not, and which are
    indices if they are cut; ones, of whole numbers."""
    shape = (2, *x.shape[1:])
    numbers = rng.uniform(rng.key(1), shape) if x.is_floating_point() else torch.ones(shape)
    return numbers.to(x.dtype)


def _differ(before: Tensor, after: Tensor) -> bool:
    return before.shape != after.shape or not torch.equal(before.nan_to_num(), after.nan_to_num())


def refuse_hidden(path: str, layer: nn.Module) -> None:
    """ModelError for draws of a layer that nothing can make repeat, as they happen inside one operation."""
    if isinstance(layer, nn.RNNBase) and layer.dropout > 0:
        raise ModelError(
            f"Layer {path} is {type(layer).__name__} with dropout {layer.dropout} between its layers, which is drawn "
            "where it cannot be made to repeat. Set it to 0, and put nn.Dropout between recurrent layers of one each."
        )
