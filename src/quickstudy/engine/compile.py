"""Functions of nested tensors as compiled graphs, which are trusted only after they have agreed with eager code."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from quickstudy.engine.backends.decompositions import DECOMPOSITIONS
from quickstudy.engine.backends.inductor import machine_code
from quickstudy.engine.cores import cores as on_cores
from quickstudy.errors import QuickstudyError

_TENSORS = frozenset({Tensor, torch.nn.Parameter})
_Seen = tuple[Callable[[], Tensor | None], torch.Size, torch.dtype]

_AGREE = {torch.float64: 1e-10, torch.float32: 2e-3}  # relative; a wrong graph is off by far more than rounding
_TINY = {torch.float64: 1e-11, torch.float32: 1e-5}  # of all results together: gradients that are zero but for rounding
_STRICT = 0.05  # of that, where little was computed
_ROUGH = 5e-2  # where bfloat16 arithmetic is somewhere inside


_AS_MUCH = 4.0  # times the rounding of eager code: what a graph may be off
_NEAR = 2  # inputs beside those given on which a graph may be compared with eager code; on one it must agree


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
        self._last: tuple[list[_Seen], Any, Any] = [], None, None  # what the call before was given, and its key

    def __call__(self, *arguments: Any, cores: int = 0) -> Any:
        """cores: on which the graph runs; it is made for all, whatever it runs on at first."""
        leaves: list[Tensor] = []
        nesting = _flattened(arguments, leaves)
        seen, before, key = self._last
        if nesting != before or not _alike(leaves, seen):
            leaves = [leaf.contiguous() for leaf in leaves]  # a graph holds for one layout of its inputs
            key = nesting, tuple((leaf.shape, leaf.dtype) for leaf in leaves)
            self._last = [_seen(leaf) for leaf in leaves], nesting, key
        if key not in self._programs:
            self._programs[key] = self._made(leaves, pytree.tree_structure(arguments))
        program, result = self._programs[key]
        with torch.no_grad(), on_cores(cores):
            return _filled(result, iter(program(*leaves)))

    def _made(self, leaves: list[Tensor], form: Any) -> tuple[Callable[..., Any], Any]:
        forms = []

        def flat(*leaves: Tensor) -> list[Tensor]:
            arguments = pytree.tree_unflatten(list(leaves), form)
            result = self._function(*arguments)
            everything = result if self._then is None else (result, self._then(arguments, result))
            forms.append(_form(everything))
            return pytree.tree_leaves(everything)

        # Whatever tracing, code generation or the C++ compiler raise, the way out is the same: eager code.
        try:
            graph = make_fx(flat, DECOMPOSITIONS)(*leaves)
            with torch.no_grad():
                program = machine_code(graph, leaves)
                program(*leaves)
        except QuickstudyError:
            raise
        except Exception as error:
            first = next(iter(str(error).strip().splitlines()), "")
            raise CompileError(f"{type(error).__name__}: {first:.200}") from error
        self._check(program, leaves, form, forms[0])
        return program, forms[0]

    def _check(self, program: Callable[..., Any], leaves: list[Tensor], form: Any, result: Any) -> None:
        """CompileError unless the program agrees with eager code, on these inputs or on others near by.

        Where a rectifier or a maximum is on the edge, rounding alone decides which way a gradient goes; a wrong graph
        is wrong on all inputs. And what is zero but for rounding is known by what double precision makes of it.
        """
        generator = torch.Generator().manual_seed(0)
        inputs = [leaves, *([_near(leaf, generator) for leaf in leaves] for _ in range(_NEAR))]
        wrong: CompileError | None = None
        for doubled, near in [(False, one) for one in inputs] + [(True, one) for one in inputs if not self._rough]:
            with torch.no_grad():
                results = program(*near)
            try:
                self._compare(pytree.tree_unflatten(near, form), _filled(result, iter(results)), doubled)
                return
            except CompileError as error:
                wrong = wrong or error
        assert wrong is not None
        raise wrong

    def _compare(self, arguments: Any, compiled: Any, doubled: bool) -> None:
        result = compiled if self._then is None else compiled[0]
        eager = pytree.tree_leaves(self._function(*arguments))
        exact = pytree.tree_leaves(self._function(*pytree.tree_map(_doubled, arguments))) if doubled else None
        check_agreement(eager, pytree.tree_leaves(result), self._rough, exact=exact)
        if self._then is not None:
            after = self._then(arguments, result)
            check_agreement(pytree.tree_leaves(after), pytree.tree_leaves(compiled[1]), strict=True)


def _doubled(leaf: Tensor) -> Tensor:
    return leaf.detach().double() if leaf.is_floating_point() else leaf


def _near(leaf: Tensor, generator: torch.Generator) -> Tensor:
    """The numbers of a tensor, each a little different; other tensors as they are."""
    if not leaf.is_floating_point():
        return leaf
    noise = torch.randn(leaf.shape, generator=generator).to(leaf)
    return (leaf.detach() * (1 + 1e-3 * noise)).to(leaf.dtype)


# A step of a small network takes some hundred microseconds, of which PyTorch's own ways with nested tensors and
# a look at every tensor's shape would be a third.


def _flattened(value: Any, leaves: list[Tensor]) -> Any:
    """Append the tensors of `value` to `leaves`, in PyTorch's order; what tells its nesting apart."""
    if isinstance(value, Tensor):
        leaves.append(value)
        return None
    if isinstance(value, dict):
        if _TENSORS.issuperset(map(type, value.values())):
            leaves.extend(value.values())
            return tuple(value)
        return (*value, *[_flattened(one, leaves) for one in value.values()])
    return type(value), *[_flattened(one, leaves) for one in value]


def _seen(leaf: Tensor) -> _Seen:
    return weakref.ref(leaf), leaf.shape, leaf.dtype


def _alike(leaves: list[Tensor], seen: list[_Seen]) -> bool:
    """Whether the graph for what was seen takes `leaves`, of which copies are put in where their layout needs it.

    φ and the optimizer's slots are the very same tensors at each step.
    """
    for index, leaf in enumerate(leaves):
        before, shape, dtype = seen[index]
        if before() is not leaf:
            if leaf.shape != shape or leaf.dtype != dtype:
                return False
            leaves[index] = leaf.contiguous()
            seen[index] = _seen(leaves[index])
    return True


def _form(value: Any) -> Any:
    """The nesting of `value`, as `_filled` takes it."""
    if isinstance(value, Tensor):
        return None
    if isinstance(value, dict):
        return {name: _form(one) for name, one in value.items()}
    return [_form(one) for one in value]


def _filled(form: Any, leaves: Iterator[Tensor]) -> Any:
    """The nested dicts and tuples of `form` around `leaves`."""
    if form is None:
        return next(leaves)
    if isinstance(form, dict):
        return {name: next(leaves) if one is None else _filled(one, leaves) for name, one in form.items()}
    return tuple([_filled(one, leaves) for one in form])


def check_agreement(
    eager: list[Tensor],
    compiled: list[Tensor],
    rough: bool = False,
    strict: bool = False,
    exact: list[Tensor] | None = None,
) -> None:
    """CompileError if the results differ by more than rounding. Silent errors in compiled second derivatives exist.

    strict: each is a few operations away from what both were given, so that hardly anything is rounding. exact: what
    eager code gives in double precision: how far eager code is from it is what rounding makes here.
    """
    total = sum(float(e.detach().double().square().sum()) for e in eager if e.is_floating_point()) ** 0.5
    for one, other, double in zip(eager, compiled, exact or eager, strict=True):
        if one.shape != other.shape or one.dtype != other.dtype:
            raise CompileError(f"a result has shape {tuple(other.shape)} instead of {tuple(one.shape)}")
        if not one.is_floating_point():
            if not torch.equal(one, other):
                raise CompileError("a result of whole numbers differs from eager code")
            continue
        norm, apart, rounding = (
            float(t.double().norm()) for t in (one.detach(), double.detach() - other, double - one)
        )
        agree = _ROUGH if rough else _AGREE.get(one.dtype, _ROUGH) * (_STRICT if strict else 1)
        slack = 0.0 if strict else (_ROUGH if rough else _TINY.get(one.dtype, _ROUGH)) * total
        if not (
            apart <= agree * norm + slack + _AS_MUCH * rounding
            or (norm != norm and bool(one.isnan().eq(other.isnan()).all()))
        ):
            raise CompileError(f"compiled and eager results differ by {apart / max(norm, 1e-30):.2g} relative")
