"""Choosing a plan by measuring: the few that apply are tried on a run's first steps, and the fastest is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from quickstudy.engine.compile import CompileError
from quickstudy.engine.core import Engine
from quickstudy.engine.plan import Plan
from quickstudy.engine.vectorize import Gradients, convolves
from quickstudy.episode import Episode, Params, map_episode
from quickstudy.learners.iterative import IterativeLearner
from quickstudy.metagrads import Recompute, Unrolled

Compile = Literal["auto", "on", "off"]

_ROUNDS = 3  # timed runs of each candidate, after one to warm up
_SHORT = 0.005  # seconds below which calls are timed on end
_ON_END, _WAKING = 10, 3  # how many, and how many of them only wake the cores
_TURNS = 0.1  # seconds for which eager code is timed again beside what was compiled, if that is more than _ROUNDS
_HOPELESS = 3.0  # a candidate that needs this many times the best's time is not tried again
_GAIN = 0.95  # a plan replaces another only if it needs at most this share of its time
_WORTH_MEASURING = 20.0  # seconds of training left below which nothing is measured
_OPERATION = 7e-6  # seconds that compiling saves at each operation: Python, dispatch and memory traffic
_FUSED = 0.15  # of the time of an inner loop through convolutions: what compiling saves by less memory traffic alone
_COMPILING = (7.0, 0.016)  # seconds to compile: a fixed part, and for each operation
_LARGEST = 1500  # operations above which a step of the inner loop is compiled instead of the whole
_WORKER_TASKS = 2  # tasks a thread must have to be worth it


class Tuner:
    """Computes meta-gradients like its engine, and finds out on the way how to do so faster.

    engine: with the plan in use; what `gradients` returns always comes from it, the candidates' results are discarded.
    compile: 'auto' compiles when the time saved in the rest of the run exceeds what compiling costs; 'on' compiles as
    soon as it is allowed to, 'off' never. decided: nothing more is measured. say: receives one line for each decision.
    run: what is timed, a function of (engine, φ, episodes, keys): the meta-gradient, and what is compiled with it.
    """

    def __init__(
        self,
        engine: Engine,
        compile: Compile = "auto",
        say: Callable[[str], None] = lambda line: None,
        run: Callable[..., object] = lambda engine, *arguments: engine.gradients(*arguments),
    ) -> None:
        self.engine, self.compile, self.say, self.run = engine, compile, say, run
        self.decided = False
        self._times: list[float] = []

    def gradients(self, params: Params, episodes: Episode, keys: Tensor | None, left: int) -> Gradients:
        """See `Engine.gradients`. left: outer steps still to come, this one included."""
        began = self._now()
        result = self.engine.gradients(params, episodes, keys)
        if not self.decided:
            self._times.append(self._now() - began)
            if len(self._times) > 1:  # the first one warms up
                self._decide((params, episodes, keys), min(self._times), left)
        return result

    def _decide(self, arguments: tuple[Any, ...], seconds: float, left: int) -> None:
        if self.compile != "on" and seconds * left < _WORTH_MEASURING:
            self.decided = len(self._times) > _ROUNDS
            return
        self.decided = True
        count = len(arguments[1].query.y)
        plans = candidates(self.engine, count)
        if len(plans) > 1:
            best, seconds = self._fastest(plans, arguments)
            if best != self.engine.plan:
                self.engine = self.engine.planned(best)
                self.say(f"{best} is fastest ({count / seconds:.0f} tasks/s)")
        if self.compile != "off":
            self._compiled(arguments, seconds, left)

    def _fastest(self, plans: list[Plan], arguments: tuple[Any, ...]) -> tuple[Plan, float]:
        """The plan with the least median time, the one in use if no other is clearly faster, and that time."""
        engines = {plan: self.engine if plan == self.engine.plan else self.engine.planned(plan) for plan in plans}
        times: dict[Plan, list[float]] = {plan: [] for plan in plans}
        for turn in range(1 + _ROUNDS):
            for plan, engine in list(engines.items()):
                times[plan].append(self._paced(engine, arguments))
                if len(engines) > 1 and times[plan][-1] > _HOPELESS * min(min(t) for t in times.values() if t):
                    del engines[plan]
            if turn == 0:
                times = {plan: [] for plan in engines}
        taken = {plan: median(t) for plan, t in times.items() if plan in engines}
        best = min(taken, key=lambda plan: taken[plan])
        mine = taken.get(self.engine.plan)
        if mine is not None and taken[best] > _GAIN * mine:
            best = self.engine.plan
        return best, taken[best]

    def _compiled(self, arguments: tuple[Any, ...], seconds: float, left: int) -> None:
        """Compile if it is worth it; keep what was compiled if it is faster."""
        plan, operations = compilable(self.engine, arguments)
        cost = _COMPILING[0] + _COMPILING[1] * operations
        share = min(0.9, operations * _calls(plan, arguments) * _OPERATION / seconds)
        learner = self.engine.learner
        share = max(share, _FUSED) if convolves(learner) and learner.inner_loop else share
        if self.compile == "auto" and share * seconds * left < cost:
            return
        self.say(f"compiling, about {cost:.0f} s")
        compiled = self.engine.planned(plan)
        try:
            took = self._seconds(compiled, arguments)
        except CompileError as error:
            self.say(f"not compiled ({error}); going on with eager code")
            return
        engines = [self.engine, compiled]
        if self.engine.device.type == "cpu" and torch.get_num_threads() > 1 and plan.vectorize == "vmap":
            engines.append(compiled.planned(replace(plan, cores=1)))
        rounds = max(_ROUNDS, min(25, round(_TURNS / seconds)))
        turns = [[self._paced(engine, arguments) for engine in engines] for _ in range(rounds)]
        eager, *times = (median(taken) for taken in zip(*turns, strict=True))
        fast = min(times)
        compiled = engines[1 + times.index(fast)]
        ratio = eager / fast
        if fast > _GAIN * eager:
            self.say(f"compiled in {took:.0f} s, but {ratio:.2f} times as fast: going on with eager code")
            return
        self.engine = compiled
        self.say(f"compiled in {took:.0f} s, {ratio:.1f} times as fast")

    def _paced(self, engine: Engine, arguments: tuple[Any, ...]) -> float:
        """The median time of a call as a run makes it, one after another.

        Where calls are short and plans take turns call by call, one that uses several cores waits each time until they
        have woken up, which is up to a third of its time.
        """
        took = self._seconds(engine, arguments)
        if took < _SHORT:
            took = median([self._seconds(engine, arguments) for _ in range(_ON_END)][_WAKING:])
        return took

    def _seconds(self, engine: Engine, arguments: tuple[Any, ...]) -> float:
        """The time of one meta-gradient."""
        began = self._now()
        self.run(engine, *arguments)
        return self._now() - began

    def _now(self) -> float:
        if self.engine.device.type == "cuda":
            torch.cuda.synchronize(self.engine.device)
        return time.perf_counter()


def _calls(plan: Plan, arguments: tuple[Any, ...]) -> int:
    return len(arguments[1].query.y) if plan.vectorize == "loop" else 1


def candidates(engine: Engine, count: int) -> list[Plan]:
    """The plans worth measuring for meta-batches of `count` tasks, the one in use first; one if the choice is made."""
    first = engine.plan
    modes: list[Literal["vmap", "loop"]] = ["vmap", "loop"]
    if engine.vectorize != "auto":
        modes = [engine.vectorize]
    elif not convolves(engine.learner) or count == 1:
        modes = [first.vectorize]
    plans = [first, *(replace(first, vectorize=mode) for mode in modes if mode != first.vectorize)]
    threads = torch.get_num_threads() if engine.device.type == "cpu" else 1
    if "loop" in modes and threads > 1 and count >= _WORKER_TASKS * threads:
        plans.append(replace(first, vectorize="loop", workers=threads))
    if isinstance(engine.estimator, Recompute) and engine.metagrad_options.get("order", "auto") == "auto":
        plans += [replace(plan, order="forward") for plan in plans]
    return plans


def compilable(engine: Engine, arguments: tuple[Any, ...]) -> tuple[Plan, int]:
    """The plan to compile by, and the number of operations of what is compiled."""
    count = _Count()
    params, episodes, keys = arguments
    if engine.vectorize == "auto" and len(episodes.query.y) > 1:  # compiled, all at once is faster, eager or not
        engine = engine.planned(replace(engine.plan, vectorize="vmap", workers=1))
    if engine.mode == "loop":
        episodes, keys = map_episode(lambda t: t[:1], episodes), None if keys is None else keys[:1]
    with count:
        engine.planned(replace(engine.plan, workers=1)).gradients(params, episodes, keys)
    learner = engine.learner
    estimator = engine.estimator  # with compiled parts, `unrolled` becomes `recompute`
    stepwise = isinstance(learner, IterativeLearner) and (estimator.stepwise or isinstance(estimator, Unrolled))
    if isinstance(estimator, Recompute) or (stepwise and count.operations > _LARGEST):
        steps = max(1, getattr(learner, "steps", 1))
        return replace(engine.plan, compiled="parts"), min(count.operations, 3 * count.operations // steps)
    return replace(engine.plan, compiled="whole"), count.operations


class _Count(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that reach the dispatcher."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        return function(*args, **(kwargs or {}))
