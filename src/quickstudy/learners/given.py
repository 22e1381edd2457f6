"""Networks that start from weights of their own: which layers were given with them, and which are drawn anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from quickstudy.errors import ConfigError, ModelError
from quickstudy.inner.partition import matching
from quickstudy.learners.copies import copied
from quickstudy.models.given import forget_marks, keep_weights

_WHOLE = "_quickstudy_whole"


def as_given(module: nn.Module) -> nn.Module:
    """A copy of the user's `module` whose layers keep their weights where φ is drawn, wherever they are built in."""
    module = copied(module)
    keep_weights(module)
    setattr(module, _WHOLE, True)
    return module


def giving(module: nn.Module, output: str) -> nn.Module:
    """A copy of `module` whose output is the part called `output` of what the module gives: of a dict by its key, of a
    tuple by its number, of anything else by the name of its attribute; 'a.0' is the part '0' of the part 'a'."""
    module = copied(module)
    module.register_forward_hook(_Part(output))
    return module


def tensors_of(output: Any, before: str = "") -> Iterator[str]:
    """The names of the tensors in an output, by which `giving` finds them.

    >>> list(tensors_of({"a": torch.ones(1), "b": [None, torch.ones(1)]}))
    ['a', 'b.1']
    """
    for name, part in _parts(output).items():
        if isinstance(part, Tensor):
            yield before + name
        else:
            yield from tensors_of(part, f"{before}{name}.")


def _parts(output: Any) -> dict[str, Any]:
    if isinstance(output, Mapping):
        return {str(name): part for name, part in output.items()}
    if not isinstance(output, tuple | list):
        return {}
    return {str(name): part for name, part in zip(getattr(output, "_fields", range(len(output))), output, strict=True)}


@dataclass(frozen=True)
class _Part:
    """A hook that takes one part of an output."""

    name: str

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        part = self._found(output, self.name)
        if not isinstance(part, Tensor):
            names = ", ".join(tensors_of(output))
            raise ModelError(
                f"The part {self.name!r:.80} of what the network gives is a {type(part).__name__}, but one tensor "
                f"(n, …) is needed. Name another part: {names or 'this output has none that is a tensor':.400}."
            )
        return part

    def _found(self, output: Any, name: str) -> Any:
        parts = _parts(output)
        if isinstance(output, tuple | list):
            parts |= {str(index): part for index, part in enumerate(output)}
        if name in parts or hasattr(output, name):
            return parts[name] if name in parts else getattr(output, name)
        first, _, rest = name.partition(".")
        if rest and first in parts:
            return self._found(parts[first], rest)
        told = f"has no part {name!r:.80}" + (f": {', '.join(map(str, parts))}" if parts else "")
        raise ModelError(f"What the network gives, a {type(output).__name__}, {told:.400}.")


def given_part(module: nn.Module) -> nn.Module:
    """What the user gave of `module`, as it was given; all of it if no part was."""
    part = next((one for one in module.modules() if hasattr(one, _WHOLE)), module)
    forget_marks(part)
    vars(part).pop(_WHOLE, None)
    for layer in part.modules():
        for number in [number for number, hook in layer._forward_hooks.items() if isinstance(hook, _Part)]:
            del layer._forward_hooks[number]
    return part


def freeze_all_but(module: nn.Module, patterns: Sequence[str]) -> None:
    """Let only the parameters that match be trained, in place; see `matching`. What was frozen stays so.

    Raises ConfigError for a pattern that matches none.
    """
    names = [name for name, _ in module.named_parameters()]
    for pattern in patterns:
        if not matching([pattern.removeprefix("!")], names):
            raise ConfigError(
                f"No parameter matches {pattern.removeprefix('!')!r}, which says what is trained. The network's "
                f"parameters are: {', '.join(names[:20])}{', …' if len(names) > 20 else ''}."
            )
    trained = set(matching(patterns, names))
    for name, value in module.named_parameters():
        value.requires_grad_(value.requires_grad and name in trained)
