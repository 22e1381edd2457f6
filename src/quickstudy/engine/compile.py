"""Functions of nested tensors as compiled graphs, which are trusted only after they have agreed with eager code."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from quickstudy.errors import QuickstudyError

_AGREE = {torch.float64: 1e-10, torch.float32: 2e-3}  # relative; a wrong graph is off by far more than rounding
_TINY = {torch.float64: 1e-11, torch.float32: 1e-5}  # of all results together: gradients that are zero but for rounding
_ROUGH = 5e-2  # where bfloat16 arithmetic is somewhere inside


class CompileError(QuickstudyError):
    """A function could not be compiled, or its compiled form did not agree with it."""


class Captured:
    """`function` as one flat graph for each combination of shapes it is called with, compiled.

    function: of nested dicts, tuples and tensors, to the same; without side effects. rough: it computes in bfloat16.
    then: what is made of the tuple of arguments and of the result, in the same graph; the result is then a pair. It is
    compared with eager code on the compiled result, since an optimizer makes much of what is nothing but rounding.
    """

    def __init__(
        self, function: Callable[..., Any], rough: bool = False, then: Callable[[Any, Any], Any] | None = None
    ) -> None:
        self._function, self._rough, self._then = function, rough, then
        self._programs: dict[Any, tuple[Callable[..., Any], Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        leaves: list[Tensor] = []
        key = _flattened(arguments, leaves)
        if key not in self._programs:
            self._programs[key] = self._made(leaves, pytree.tree_structure(arguments))
        program, result = self._programs[key]
        with torch.no_grad():
            return pytree.tree_unflatten(program(*leaves), result)

    def _made(self, leaves: list[Tensor], form: Any) -> tuple[Callable[..., Any], Any]:
        forms = []

        def flat(*leaves: Tensor) -> list[Tensor]:
            arguments = pytree.tree_unflatten(list(leaves), form)
            result = self._function(*arguments)
            found, structure = pytree.tree_flatten(
                result if self._then is None else (result, self._then(arguments, result))
            )
            forms.append(structure)
            return found

        # Whatever tracing, code generation or the C++ compiler raise, the way out is the same: eager code.
        try:
            graph = make_fx(flat)(*leaves)
            with torch.no_grad(), warnings.catch_warnings(), _Quiet():
                warnings.simplefilter("ignore")
                program = _code(graph, leaves)
                found = program(*leaves)
        except QuickstudyError:
            raise
        except Exception as error:
            first = next(iter(str(error).strip().splitlines()), "")
            raise CompileError(f"{type(error).__name__}: {first:.200}") from error
        self._check(pytree.tree_unflatten(leaves, form), pytree.tree_unflatten(list(found), forms[0]))
        return program, forms[0]

    def _check(self, arguments: Any, compiled: Any) -> None:
        pairs = [(self._function(*arguments), compiled)]
        if self._then is not None:
            pairs = [(pairs[0][0], compiled[0]), (self._then(arguments, compiled[0]), compiled[1])]
        for eager, found in pairs:
            check_agreement(pytree.tree_leaves(eager), pytree.tree_leaves(found), self._rough)


def _flattened(value: Any, leaves: list[Tensor]) -> tuple[Any, ...]:
    """Append the tensors of `value` to `leaves`, in PyTorch's order; what tells its form and their shapes apart.

    A step of a small network takes some hundred microseconds, of which PyTorch's own flattening would be a tenth.
    """
    if isinstance(value, Tensor):
        leaves.append(value.contiguous())  # a graph holds for one layout of its inputs
        return value.shape, value.dtype
    if isinstance(value, dict):
        return (*value, *[_flattened(one, leaves) for one in value.values()])
    return type(value), *[_flattened(one, leaves) for one in value]


def _code(graph: torch.fx.GraphModule, leaves: list[Any]) -> Callable[..., Any]:
    """The graph as machine code. It holds for one set of shapes, so nothing needs to be guarded at each call.

    TORCHDYNAMO_DISABLE=1 leaves out the compiler, here as elsewhere in PyTorch.
    """
    if os.environ.get("TORCHDYNAMO_DISABLE") == "1":
        return graph
    from torch import _inductor  # two seconds

    compiled: Callable[..., Any] = _inductor.compile(graph, leaves, options=_options(leaves))
    return compiled


def _options(leaves: list[Any]) -> dict[str, Any]:
    """What the compiler is told besides its defaults."""
    if any(leaf.device.type != "cpu" for leaf in leaves):
        return {}
    from torch._inductor import config

    return {
        # Grouped convolutions with their channels last make every sum over a channel jump through memory.
        "layout_optimization": False,
        # Whether the C++ compiler knows this processor's instructions is seen when it compiles; trying costs 9 s.
        "cpp.vec_isa_ok": config.cpp.vec_isa_ok is not False,
    }


def check_agreement(eager: list[Tensor], compiled: list[Tensor], rough: bool = False) -> None:
    """CompileError if the results differ by more than rounding. Silent errors in compiled second derivatives exist."""
    total = sum(float(e.detach().double().square().sum()) for e in eager if e.is_floating_point()) ** 0.5
    for one, other in zip(eager, compiled, strict=True):
        if one.shape != other.shape or one.dtype != other.dtype:
            raise CompileError(f"a result has shape {tuple(other.shape)} instead of {tuple(one.shape)}")
        if not one.is_floating_point():
            if not torch.equal(one, other):
                raise CompileError("a result of whole numbers differs from eager code")
            continue
        norm, apart = (float(t.double().norm()) for t in (one.detach(), one.detach() - other))
        agree = _ROUGH if rough else _AGREE.get(one.dtype, _ROUGH)
        slack = (_ROUGH if rough else _TINY.get(one.dtype, _ROUGH)) * total
        if not (apart <= agree * norm + slack or (norm != norm and bool(one.isnan().eq(other.isnan()).all()))):
            raise CompileError(f"compiled and eager results differ by {apart / max(norm, 1e-30):.2g} relative")


class _Quiet:
    """Keeps the compiler's log lines, which are about its own choices, out of a user's terminal."""

    def __enter__(self) -> None:
        self._loggers = [logging.getLogger(name) for name in ("torch._dynamo", "torch._inductor")]
        self._levels = [logger.level for logger in self._loggers]
        for logger in self._loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        for logger, level in zip(self._loggers, self._levels, strict=True):
            logger.setLevel(level)
