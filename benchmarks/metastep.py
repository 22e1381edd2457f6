"""Seconds of one meta-step. Nothing is reported of contestants that do not compute the same meta-gradient."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

from benchmarks.contestants import Gradient, plans
from benchmarks.figures import OURS
from benchmarks.peers import PEERS, PlainLoop, Vmapped
from benchmarks.problems import META_STEPS, Problem
from benchmarks.remote import Remote, running
from benchmarks.timing import Effort, alternate
from benchmarks.worker import JAX, Entrant
from quickstudy.engine import Plan
from quickstudy.engine.compile import CompileError

TOLERANCE = 2e-3  # relative, of whole gradients in float32 after five inner steps


class Disagreement(Exception):
    """Two contestants do not compute the same meta-gradient from the same φ and tasks."""


class Computes(Protocol):
    """A contestant, in this process or in another."""

    name: str

    def gradient(self) -> Gradient: ...


def entrants(problem: Problem, chosen: Plan) -> list[Entrant]:
    """Everyone: our plans with the one that our tuner chose, and the peers.

    With convolutions, whose tensors are large, the peers in PyTorch enter a second time with our allocator setting.
    """
    ours = [Entrant(problem, plan=plan) for plan in dict.fromkeys([*plans(problem), chosen])]
    if problem.kind != "conv4":
        return [*ours, *(Entrant(problem, name) for name in [*PEERS, "JAX, jit of vmap"])]
    peers = [name for name in PEERS if name != Vmapped.name]
    lent = [Entrant(problem, name, lent=True) for name in peers]
    return [*ours, *(Entrant(problem, name) for name in [*peers, *JAX]), *lent]


def started(stack: ExitStack, everyone: Sequence[Entrant]) -> list[Remote]:
    """The processes of all who can take part, which end with `stack`; of who cannot, a line says why."""
    remotes = [stack.enter_context(running(entrant)) for entrant in everyone]
    for one in remotes:
        if one.entrant.lent and not one.kept:
            _leave_out(one, "the C library of this system has no such setting")
    return compiling([one for one in remotes if one.kept or not one.entrant.lent], Remote.gradient)


def compiling(everyone: Sequence[Remote], attempt: Callable[[Remote], object]) -> list[Remote]:
    """Without the plans of ours that do not compile when `attempt` is made; their processes are ended."""
    found = []
    for one in everyone:
        try:
            if one.entrant.who == OURS:
                attempt(one)
            found.append(one)
        except CompileError as error:
            _leave_out(one, str(error))
    return found


def _leave_out(one: Remote, why: str) -> None:
    print(f"  {one.name}: left out, {why}", file=sys.stderr)
    one.end()


def apart(one: Gradient, other: Gradient) -> float:
    """The relative difference of two gradients, in the norm of all entries together."""
    if one.keys() != other.keys():
        raise Disagreement(f"gradients of different entries: {sorted(one.keys() ^ other.keys())}")
    total = sum(float(value.double().square().sum()) for value in one.values())
    return (sum(float((one[n].double() - other[n].double()).square().sum()) for n in one) / total) ** 0.5


def check(everyone: Sequence[Computes], reference: Computes) -> dict[str, float]:
    """How far each is from the reference; Disagreement if one is further than rounding explains."""
    expected = reference.gradient()
    found = {}
    for one in everyone:
        print(f"  {one.name}", file=sys.stderr)
        found[one.name] = apart(expected, one.gradient())
    for name, difference in found.items():
        if not difference <= TOLERANCE:
            raise Disagreement(f"{name} differs from {reference.name} by {difference:.2g} relative.")
    return found


def measure(effort: Effort) -> Iterator[list[dict[str, Any]]]:
    """One entry for each problem, with a row for each contestant; what is found so far."""
    found = []
    for name, (title, problem) in META_STEPS.items():
        found.append(timed(name, title, problem, effort))
        yield found


def timed(name: str, title: str, problem: Problem, effort: Effort) -> dict[str, Any]:
    """A problem's title and rows; its contestants take turns, each in a process of its own."""
    print(f"meta-step: {title}", file=sys.stderr)
    with running(Entrant(problem)) as tuner:
        chosen = tuner.choose()
    with ExitStack() as stack:
        everyone = started(stack, entrants(problem, chosen))
        reference = next(one for one in everyone if one.name == PlainLoop.name)
        differences = check(everyone, reference)
        everyone = compiling(everyone, lambda one: one.turn(1))  # whole steps may compile where gradients did
        if not any(one.entrant.plan == chosen for one in everyone):
            raise CompileError(f"The plan that the tuner chose, {chosen}, was left out: nothing stands for quickstudy.")
        times = alternate({one.name: one.turn for one in everyone}, effort)
    rows = [
        {
            "name": one.name,
            "family": one.family,
            "chosen": one.entrant.plan == chosen,
            "difference": differences[one.name],
            **vars(times[one.name]),
        }
        for one in everyone
    ]
    return {"name": name, "title": title, "tasks": problem.tasks, "steps": problem.steps, "rows": rows}
