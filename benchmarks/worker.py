"""Who takes part, and the process in which a contestant computes: nobody shares memory, threads or settings with it.

`python -m benchmarks.worker ENTRANT` is that process. It reads a command a line and answers each with a line of JSON:
`gradient FILE`, `turn CALLS`, `choose`; it ends with its input. `benchmarks.remote` is the other side.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.contestants import Contestant, Ours, chosen_plan
from benchmarks.figures import LENT, OURS
from benchmarks.peers import PEERS
from benchmarks.problems import Problem
from benchmarks.timing import repeated
from benchmarks.with_jax import Jax
from quickstudy.engine import Plan, keep_freed_memory
from quickstudy.engine.compile import CompileError

JAX: dict[str, Callable[[Problem], Contestant]] = {
    "JAX, jit of vmap": partial(Jax, over="vmap"),
    "JAX, jit of map": partial(Jax, over="map"),
}


@dataclass(frozen=True)
class Entrant:
    """A contestant in words that can be sent to another process.

    who: quickstudy, by `plan` or as a run starts, or a name of `PEERS` or `JAX`. lent: whether it gets the setting of
    the allocator that quickstudy's runs have anyway (`keep_freed_memory`).
    """

    problem: Problem
    who: str = OURS
    plan: Plan | None = None
    lent: bool = False

    def __str__(self) -> str:
        how = "" if self.plan is None else f", {self.plan}"
        return self.who + how + (", with our allocator setting" if self.lent else "")

    def contestant(self) -> Contestant:
        if self.who == OURS:
            return Ours(self.problem, self.plan)
        return (PEERS | JAX)[self.who](self.problem)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Entrant:
        plan = None if data["plan"] is None else Plan.from_json(data["plan"])
        return cls(Problem(**data["problem"]), data["who"], plan, data["lent"])


def _gradient(entrant: Entrant, contestant: Contestant, file: str) -> dict[str, Any]:
    found = contestant.gradient()
    save_file({name: value.clone(memory_format=torch.contiguous_format) for name, value in found.items()}, Path(file))
    return {}


def _turn(entrant: Entrant, contestant: Contestant, calls: str) -> dict[str, Any]:
    return {"seconds": repeated(contestant.step)(int(calls))}


def _choose(entrant: Entrant, contestant: Contestant, nothing: str) -> dict[str, Any]:
    return {"plan": chosen_plan(entrant.problem).to_json()}


_COMMANDS = {"gradient": _gradient, "turn": _turn, "choose": _choose}


def main(entrant: Entrant) -> None:
    """Answer until the input ends. The first line says who is there and whether memory is kept."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    kept = (entrant.who == OURS or entrant.lent) and keep_freed_memory()
    contestant = entrant.contestant()
    family = LENT if entrant.lent else contestant.family
    print(json.dumps({"family": family, "kept": kept}), file=answers)
    for line in sys.stdin:
        command, _, argument = line.rstrip("\n").partition(" ")
        try:
            answer = _COMMANDS[command](entrant, contestant, argument)
        except CompileError as error:
            answer = {"not compiled": str(error)}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main(Entrant.from_json(json.loads(sys.argv[1])))
