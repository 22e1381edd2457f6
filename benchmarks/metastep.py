"""Seconds of one meta-step. Nothing is reported of contestants that do not compute the same meta-gradient."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.contestants import Contestant, Gradient, Ours, chosen_plan, plans
from benchmarks.peers import PEERS, Vmapped
from benchmarks.problems import META_STEPS, Problem
from benchmarks.timing import Effort, alternate
from benchmarks.with_jax import Jax
from quickstudy.engine import Plan
from quickstudy.engine.compile import CompileError

TOLERANCE = 2e-3  # relative, of whole gradients in float32 after five inner steps


class Disagreement(Exception):
    """Two contestants do not compute the same meta-gradient from the same φ and tasks."""


def contestants(problem: Problem, chosen: Plan) -> list[Contestant]:
    """Everyone: the plan that our tuner chose, every other plan of ours that compiles, and the peers."""
    found: list[Contestant] = []
    for plan in dict.fromkeys([*plans(problem), chosen]):
        ours = Ours(problem, plan)
        try:
            ours.gradient()
        except CompileError as error:
            print(f"  {ours.name}: left out, {error}", file=sys.stderr)
            continue
        found.append(ours)
    convolves = problem.kind == "conv4"
    found += [peer(problem) for peer in PEERS.values() if not (convolves and peer is Vmapped)]
    return [*found, Jax(problem), *([Jax(problem, "map")] if convolves else [])]


def apart(one: Gradient, other: Gradient) -> float:
    """The relative difference of two gradients, in the norm of all entries together."""
    if one.keys() != other.keys():
        raise Disagreement(f"gradients of different entries: {sorted(one.keys() ^ other.keys())}")
    total = sum(float(value.double().square().sum()) for value in one.values())
    return (sum(float((one[n].double() - other[n].double()).square().sum()) for n in one) / total) ** 0.5


def check(everyone: list[Contestant], reference: Contestant) -> dict[str, float]:
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
        found.append(_problem(name, title, problem, effort))
        yield found


def _problem(name: str, title: str, problem: Problem, effort: Effort) -> dict[str, Any]:
    print(f"meta-step: {title}", file=sys.stderr)
    chosen = chosen_plan(problem)
    everyone = contestants(problem, chosen)
    reference = next(one for one in everyone if one.name == PEERS["PyTorch by hand"].name)
    differences = check(everyone, reference)
    timed = alternate({one.name: one.step for one in everyone}, effort)
    rows = [
        {
            "name": one.name,
            "family": one.family,
            "chosen": isinstance(one, Ours) and one.engine.plan == chosen,
            "difference": differences[one.name],
            **vars(timed[one.name]),
        }
        for one in everyone
    ]
    return {"name": name, "title": title, "tasks": problem.tasks, "steps": problem.steps, "rows": rows}
