"""What the convolutions of a meta-step cost by themselves, and what their arithmetic costs at the machine's best."""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.contestants import engine_of
from benchmarks.problems import META_STEPS, Problem
from benchmarks.timing import Effort, alternate, repeated
from quickstudy.engine import Plan
from quickstudy.engine.tune import compilable
from quickstudy.entries import PARAMETER, with_prefix

_aten = torch.ops.aten
_SIZE = 2048  # of the matrices whose product shows how fast the machine multiplies

_Call = tuple[Any, tuple[Any, ...]]
"""An operation, and its arguments with (shape, stride) in the place of tensors."""


class Convolutions(TorchDispatchMode):
    """Counts the convolutions, their derivatives among them, that are computed within it: `calls`."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[_Call] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (_aten.convolution.default, _aten.convolution_backward.default):
            self.calls[func, tuple(_described(one) for one in args)] += 1
        return func(*args, **(kwargs or {}))


def _described(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.shape, value.stride()
    return tuple(value) if isinstance(value, list) else value


def _made(described: Any) -> Any:
    if isinstance(described, tuple) and described and isinstance(described[0], torch.Size):
        shape, stride = described
        return torch.rand(1 + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))).as_strided(shape, stride)
    return list(described) if isinstance(described, tuple) else described


def flops(call: _Call) -> int:
    """Multiplications and additions; those with the zeros of the padding are counted too."""
    function, arguments = call
    if function is _aten.convolution.default:
        (x, _), (weight, _), _, stride, padding, dilation = arguments[:6]
        places = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(x[2:], weight[2:], stride, padding, dilation, strict=True)
        ]
        return 2 * x[0] * math.prod(places) * weight.numel()
    (after, _), _, (weight, _) = arguments[:3]
    return sum(arguments[10][:2]) * 2 * after[0] * math.prod(after[2:]) * weight.numel()


def captured(problem: Problem) -> Callable[[], object]:
    """A meta-gradient by the graphs that would be compiled, whole or in parts, which run operation by operation."""
    params = with_prefix(PARAMETER, problem.params)
    engine = engine_of(problem).planned(Plan("vmap"))
    plan, _ = compilable(engine, (params, problem.episodes, None))
    engine = engine.planned(plan)
    with patch.dict(os.environ, {"TORCHDYNAMO_DISABLE": "1"}):
        engine.gradients(params, problem.episodes)
    return lambda: engine.gradients(params, problem.episodes)


def convolutions(problem: Problem) -> Counter[_Call]:
    """The calls of a meta-gradient as it would be compiled for all tasks side by side."""
    gradient = captured(problem)
    with Convolutions() as seen:
        gradient()
    return seen.calls


def measure(effort: Effort) -> Iterator[list[dict[str, Any]]]:
    """A row for each meta-step with convolutions: seconds of its calls alone, operations, and operations a second."""
    a = torch.rand((_SIZE, _SIZE))
    found: list[dict[str, Any]] = []
    for name, (title, problem) in META_STEPS.items():
        if problem.kind != "conv4":
            continue
        print(f"roofline: {title}", file=sys.stderr)
        calls = convolutions(problem)
        turns: dict[Any, Callable[[int], float]] = {call: repeated(_runner(call)) for call in calls}
        timed = alternate(turns | {"product": repeated(lambda: a @ a)}, effort)
        found.append(
            {
                "name": name,
                "title": title,
                "calls": calls.total(),
                "flops": sum(flops(call) * count for call, count in calls.items()),
                "rate": 2 * _SIZE**3 / timed["product"].seconds,
                "seconds": sum(timed[call].seconds * count for call, count in calls.items()),
            }
        )
        yield found


def _runner(call: _Call) -> Callable[[], object]:
    function, described = call
    arguments = [_made(one) for one in described]
    return lambda: function(*arguments)
