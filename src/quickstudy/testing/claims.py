"""What the suites are written in: a claim with its message, and when tensors are the same."""

from __future__ import annotations

import json
from collections.abc import Callable

import torch

from quickstudy.episode import Episode, Examples, Features, leaves
from quickstudy.errors import QuickstudyError
from quickstudy.spec import TaskSpec

_ROUNDING = 1e-5  # of the largest value: float32 after a few products of some hundred terms


def require(condition: bool, message: str) -> None:
    """AssertionError with this message where the condition does not hold."""
    if not condition:
        raise AssertionError(message)


def refuses(call: Callable[[], object], wanted: type[QuickstudyError], what: str) -> None:
    """AssertionError where `call` takes `what`, or refuses it by another error than the wanted one."""
    said = f"{what} must be refused by {wanted.__name__}"
    try:
        call()
    except wanted:
        return
    except Exception as error:
        raise AssertionError(f"{said}, but raised {type(error).__name__}: {error}") from error
    raise AssertionError(f"{said}, but was taken.")


def equal(one: Features | Examples | Episode, other: Features | Examples | Episode) -> bool:
    """Bit for bit."""
    return all(torch.equal(a, b) for a, b in zip(leaves(one), leaves(other), strict=True))


def same(one: Features | Examples | Episode, other: Features | Examples | Episode) -> bool:
    """The same but for rounding: a product of matrices may be summed up in another order in another batch."""
    ours, theirs = leaves(one), leaves(other)
    return len(ours) == len(theirs) and all(
        a.dtype == b.dtype
        and a.shape == b.shape
        and (
            torch.allclose(a, b, rtol=_ROUNDING, atol=_ROUNDING * float(a.abs().max()))
            if a.is_floating_point() and a.numel()
            else torch.equal(a, b)
        )
        for a, b in zip(ours, theirs, strict=True)
    )


def restored(spec: TaskSpec, name: str) -> None:
    """The spec must be the same after it was stored as JSON and read."""
    text = json.dumps(spec.to_json())
    require(
        TaskSpec.from_json(json.loads(text)) == spec, f"{name} is another one after it was stored as JSON and read."
    )
