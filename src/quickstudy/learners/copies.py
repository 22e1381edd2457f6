"""Copies of a module, lent to one call at a time, so that no call sees another's weights or hooks, or what it left."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from quickstudy.errors import ModelError

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def is_foreign(layer: nn.Module) -> bool:
    """Whether a layer is of another library than PyTorch and quickstudy, or runs layers of one."""
    home = type(layer).__module__.split(".")[0]
    return home not in ("torch", "quickstudy") or bool(getattr(layer, "foreign", False))


def copied(module: nn.Module) -> nn.Module:
    """A copy of a module of the user's. Raises ModelError, naming what cannot be copied, for one that has none."""
    try:
        return copy.deepcopy(module)
    except (RuntimeError, TypeError, SystemError, NotImplementedError, AttributeError) as error:
        for path, layer in module.named_modules():
            for name, value in vars(layer).items():
                if name not in _OF_EVERY_MODULE and not _is_copied(value):
                    raise ModelError(
                        f"The network cannot be copied, as attribute {name!r} of layer {path or '(the module itself)'} "
                        f"cannot: {_how(value)}"
                    ) from error
        raise ModelError(f"The network cannot be copied: {type(error).__name__}: {error!s:.300}") from error


def _is_copied(value: Any) -> bool:
    try:
        copy.deepcopy(value)
    except (RuntimeError, TypeError, SystemError, NotImplementedError, AttributeError):
        return False
    return True


def _how(value: Any) -> str:
    if isinstance(value, Tensor):
        return (
            "it is computed from parameters and kept. Use torch.nn.utils.parametrizations.weight_norm in place of "
            "torch.nn.utils.weight_norm, make pruning permanent (prune.remove), and compute such tensors in forward."
        )
    return f"it is a {type(value).__name__}. Make it where it is used, or leave it out of the network."


class Attributes:
    """What the attributes of foreign layers are, beside parameters, buffers and layers, and so can be again."""

    def __init__(self, module: nn.Module) -> None:
        self._whole = [(layer, dict(vars(layer))) for layer in module.modules() if is_foreign(layer)]
        own = (value for _, kept in self._whole for name, value in kept.items() if name not in _OF_EVERY_MODULE)
        self._inside = [(value, copy.copy(value)) for value in own if type(value) in (dict, list, set)]

    def restore(self) -> None:
        """Undo what calls have assigned to attributes, or have put in those that are a dict, a list or a set."""
        for layer, kept in self._whole:
            vars(layer).clear()
            vars(layer).update(kept)
        for value, kept in self._inside:
            value.clear()
            value.extend(kept) if isinstance(value, list) else value.update(kept)

    def changed(self) -> list[str]:
        """The names of the attributes that are others than before."""
        names = (name for layer, kept in self._whole for name, v in vars(layer).items() if v is not kept.get(name))
        return list(dict.fromkeys(name for name in names if name not in _OF_EVERY_MODULE and name != "training"))


class Copies:
    """Copies of `module`, which itself is never called. They share its tensors: a call brings values of its own.

    One thread is lent the same copy again and again; there are as many copies as there were calls at once. A copy that
    is given back is as it was: what layers of others keep in attributes lasts for one call.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._idle: list[nn.Module] = []
        self._before: dict[nn.Module, Attributes] = {}

    def take(self) -> nn.Module:
        """A copy that no other call is using, until it is given back."""
        try:
            return self._idle.pop()  # taking and giving back are single steps for threads, so no lock is needed
        except IndexError:
            copied = self.new()
            self._before[copied] = Attributes(copied)
            return copied

    def give_back(self, copied: nn.Module) -> None:
        self._before[copied].restore()
        self._idle.append(copied)

    def new(self, values: Mapping[str, Tensor] | None = None) -> nn.Module:
        """A copy that is the caller's to keep, with `values` in the place of parameters and buffers, wherever they are
        used; the other tensors are shared."""
        own = [
            *self.module.named_parameters(remove_duplicate=False),
            *self.module.named_buffers(remove_duplicate=False),
        ]
        instead: dict[int, Any] = {id(tensor): tensor for _, tensor in own}
        instead |= {id(tensor): values[name] for name, tensor in own if values and name in values}
        return copy.deepcopy(self.module, instead)

    def __reduce__(self) -> tuple[type[Copies], tuple[nn.Module]]:
        return Copies, (self.module,)
