"""The engine decides how a learner runs; no learner knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from quickstudy import rng
from quickstudy.brief import Brief
from quickstudy.engine.compile import Captured
from quickstudy.engine.distribute import Group
from quickstudy.engine.plan import Plan
from quickstudy.engine.precision import Precision, autocast, tensor_cores
from quickstudy.engine.shared import Shared
from quickstudy.engine.substitutes import Substitutes
from quickstudy.engine.vectorize import Gradients, Vectorize, over_tasks, resolve, tasks_of
from quickstudy.episode import Episode, Params, task
from quickstudy.learners import Learner
from quickstudy.learners.chance import chances
from quickstudy.learners.iterative import IterativeLearner
from quickstudy.metagrads import Metagrad, Recompute, Runner, Unrolled, metagrad
from quickstudy.tasks.base import Source
from quickstudy.workers.threads import single_threads

_DRAWS = 1  # what networks draw is not what estimators draw
_MATH_ATTENTION = Shared(lambda: sdpa_kernel(SDPBackend.MATH))


class _Runner(Runner):
    """Runs an estimator's functions as a plan says."""

    def __init__(self, engine: Engine, keys: Tensor | None) -> None:
        self._engine, self.keys = engine, keys
        self._draws = None if keys is None or engine.learner.plain else rng.fold(keys, _DRAWS)

    def tasks(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Networks that draw do so by the key of each task."""

        def one_task(params: Params, key: Tensor | None, *rest: Any) -> Any:
            with chances(key):
                return function(params, *rest)

        def all_tasks(params: Params, *rest: Any) -> Any:
            if self._engine.plan.vectorize == "loop":
                return one_task(params, self._draws, *rest)
            shared = None if self._draws is None else 0
            return torch.func.vmap(one_task, in_dims=(None, shared, *(0 for _ in rest)))(params, self._draws, *rest)

        return all_tasks

    def part(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        if self._engine.plan.compiled != "parts":
            return function
        if self._draws is None:
            return self._engine.captured(name, function)

        def keyed(draws: Tensor, *arguments: Any) -> Any:
            before, self._draws = self._draws, draws  # an argument of the graph, not a constant in it
            try:
                return function(*arguments)
            finally:
                self._draws = before

        return partial(self._engine.captured(name, keyed), self._draws)


@dataclass(frozen=True)
class Engine(Brief):
    """Meta-gradients and predictions of a learner over a batch of tasks.

    vectorize: 'vmap', 'loop', or 'auto'. precision: of the network's arithmetic. metagrad: name of the estimator; None
    takes the one the learner is defined with. metagrad_options: its arguments. chosen: the plan by which meta-gradients
    are computed; if not given, a rule of thumb, which `Tuner` improves on by measuring.
    """

    learner: Learner
    device: torch.device
    vectorize: Vectorize = "auto"
    precision: Precision = "float32"
    metagrad: str | None = None
    metagrad_options: Mapping[str, Any] = field(default_factory=dict)
    chosen: Plan | None = None
    _captured: dict[str, Captured] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        _ = self.estimator  # refuses a name or an option that does not exist, before anything runs

    @cached_property
    def plan(self) -> Plan:
        """How meta-gradients are computed."""
        return self.chosen or Plan(resolve(self.vectorize, self.learner, self.device))

    @cached_property
    def estimator(self) -> Metagrad:
        """The meta-gradient estimator, as the plan needs it."""
        estimator = metagrad(self.metagrad or self.learner.metagrad, **self.metagrad_options)
        if (
            self.plan.compiled == "parts"
            and isinstance(estimator, Unrolled)
            and isinstance(self.learner, IterativeLearner)
            and not self.learner.beyond
        ):
            estimator = Recompute()  # the same gradient, in parts
        if isinstance(estimator, Recompute) and estimator.order == "auto":
            return replace(estimator, order=self.plan.order)
        return estimator

    def planned(self, plan: Plan) -> Engine:
        """The same engine with another plan. What is compiled is kept where only the number of cores differs."""
        if replace(plan, cores=self.plan.cores) == self.plan:
            return self._sharing(chosen=plan)
        return replace(self, chosen=plan)

    def _sharing(self, **changes: Any) -> Engine:
        """The same engine with `changes` to which its graphs are indifferent; both use, and add to, the same graphs."""
        engine = replace(self, **changes)
        object.__setattr__(engine, "_captured", self._captured)
        return engine

    def captured(self, name: str, function: Callable[..., Any], then: Any = None) -> Callable[..., Any]:
        """`function`, compiled, with what follows it; the same name stands for the same functions. See `Captured`."""
        if (graph := self._captured.get(name)) is None:
            graph = self._captured.setdefault(name, Captured(function, self.precision == "bfloat16", then))
        count = self.plan.cores
        return partial(graph, cores=count) if count else graph

    def autocast(self) -> AbstractContextManager[None]:
        """Within it the network runs in bfloat16, if that is the engine's precision."""
        return autocast(self.precision, self.device)

    @property
    def mode(self) -> Literal["vmap", "loop"]:
        return self.plan.vectorize

    def gradients(self, params: Params, episodes: Episode, keys: Tensor | None = None) -> Gradients:
        """Mean meta-gradient over the tasks for every trainable entry of φ, and each task's loss and metric (T,).

        keys: a seed for each task, (T,) int64, for estimators that draw random numbers, and for networks, which without
        keys draw nothing.
        """
        count = len(episodes.query.y)
        if self.mode == "vmap":
            return self._unit(params, episodes, keys, count)
        singles = list(tasks_of(episodes))
        seeds = [None] * count if keys is None else list(keys)
        if self.plan.workers == 1:
            parts = [self._unit(params, one, key, count) for one, key in zip(singles, seeds, strict=True)]
        else:
            parts = self._spread(params, singles, seeds)
        return _collected(parts)

    def collected(
        self, source: Source, params: Params, split: str, indices: Tensor, keys: Tensor, group: Group | None = None
    ) -> Episode:
        """The episodes `indices` (T,) of a source, as the estimator needs them of a learner with φ for `gradients` with
        the same keys. group: of processes that all ask for their shares now; what one of them meets, all raise."""
        group = group or Group()
        with group.together("collecting"):
            episodes = self.estimator.collected(self.learner, params, source, split, indices, keys)
        if self.estimator.plays(self.learner):
            return episodes
        return self.learner.levelled(episodes, partial(group.sum, where="collecting"))

    @property
    def whole(self) -> bool:
        """Whether the meta-gradient over all tasks is one graph, of which what follows it can be a part."""
        return self.plan.compiled == "whole" and self.mode == "vmap"

    def extended(
        self, name: str, more: Callable[..., Any], params: Params, episodes: Episode, keys: Tensor | None, *rest: Any
    ) -> tuple[Any, Tensor, Tensor]:
        """`more`(φ, meta-gradient, *rest), and each task's loss and metric (T,), as one graph that `name` stands for.

        Only for an engine that runs as a `whole`. CompileError where the graph cannot be made.
        """
        count = len(episodes.query.y)
        title = f"{name}/{count}"

        def gradients(params: Params, episodes: Episode, keys: tuple[Tensor, ...], rest: Any) -> Gradients:
            return self._differentiated(count, params, episodes, *keys)

        def then(arguments: Any, result: Gradients) -> Any:
            return more(arguments[0], result[0], *arguments[3])

        graph = self.captured(title, gradients, then)
        (_, loss, metric), after = graph(params, episodes, () if keys is None else (keys,), rest)
        return after, loss, metric

    def _spread(self, params: Params, singles: list[Episode], seeds: list[Any]) -> list[Gradients]:
        """The tasks of a loop on several threads, each with one core of its own."""
        count, workers, alone = len(singles), self.plan.workers, self._alone

        def share(index: int) -> list[Gradients]:
            chosen = range(index, count, workers)
            return [alone._unit(params, singles[i], seeds[i], count) for i in chosen]

        if self.plan.compiled != "no" and not self._captured:
            self._threads.submit(alone._unit, params, singles[0], seeds[0], count).result()  # compiles, for all
        shares = list(self._threads.map(share, range(workers)))
        return [shares[i % workers][i // workers] for i in range(count)]

    @cached_property
    def _alone(self) -> Engine:
        """The engine as each of the threads uses it."""
        return self._sharing(chosen=replace(self.plan, workers=1))

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return single_threads(self.plan.workers)

    def _unit(self, params: Params, episodes: Episode, keys: Tensor | None, count: int) -> Gradients:
        """What runs, and is compiled, as one: all tasks of `count`, or one of them."""
        function = partial(self._differentiated, count)
        if self.plan.compiled == "whole":
            result: Gradients = self.captured(f"whole/{count}", function)(
                params, episodes, *([] if keys is None else [keys])
            )
            return result
        return function(params, episodes, keys)

    def _differentiated(self, count: int, params: Params, episodes: Episode, keys: Tensor | None = None) -> Gradients:
        moving = {n: p.detach().requires_grad_() for n, p in params.items() if self.learner.moves(n)}
        fixed = {n: p for n, p in params.items() if n not in moving}
        with torch.enable_grad(), self._arithmetic():
            score = self.estimator(self.learner, moving | fixed, episodes, _Runner(self, keys))
            grads = torch.autograd.grad(score.surrogate / count, list(moving.values()), materialize_grads=True)
        return dict(zip(moving, grads, strict=True)), score.loss.detach(), score.metric.detach()

    @contextmanager
    def _arithmetic(self) -> Iterator[None]:
        """Within it, the operations of meta-gradients run in the engine's precision, by kernels that suit them."""
        with self.autocast(), tensor_cores(self.precision, self.device), ExitStack() as stack:
            if self.learner.inner_loop:
                stack.enter_context(_MATH_ATTENTION)  # the fused kernels have no second derivative
                if self.mode == "vmap" or self.plan.order == "forward" or self.plan.compiled != "no":
                    stack.enter_context(Substitutes())
            yield

    def refreshed(self, params: Params, source: Source, index: Tensor, key: Tensor) -> Params:
        """What follows in φ after an outer step, by a call on one training episode; see `Learner.refreshed`."""
        if self.learner.still:
            return {}
        episode = task(source.episodes("train", index.reshape(1)), 0)
        with self.autocast():
            return self.learner.refreshed(params, episode, rng.fold(key, index))

    def reports(self, params: Params, episodes: Episode, keys: Tensor | None = None) -> dict[str, float]:
        """What the estimator says of its own estimate, such as a residual: means over the tasks. Empty for most."""
        if not self.estimator.reports:
            return {}
        batches = [episodes] if self.mode == "vmap" else list(tasks_of(episodes))
        seeds: list[Any] = [keys] if self.mode == "vmap" or keys is None else list(keys)
        seeds *= len(batches) // len(seeds)
        with self._arithmetic():
            scores = [
                self.estimator(self.learner, params, batch, _Runner(self, seed))
                for batch, seed in zip(batches, seeds, strict=True)
            ]
        return {
            name: float(torch.stack([score.extra[name].mean() for score in scores]).mean())
            for name in self.estimator.reports
        }

    def map(self, function: Callable[[Episode], tuple[Tensor, ...]], episodes: Episode) -> tuple[Tensor, ...]:
        """`function` of every task, without gradients; each result has a leading task axis."""
        with torch.no_grad(), self.autocast():
            return over_tasks(function, episodes, self.mode)

    def predictions(self, params: Params, episodes: Episode) -> Tensor:
        """Query predictions after adapting, as learners do after training: (T, n, ways) or (T, n, *target)."""
        learner = self.learner.evaluated()

        def predict(episode: Episode) -> tuple[Tensor, ...]:
            return (learner.predict(params, learner.adapt(params, episode.support), episode.query.x),)

        return self.map(predict, episodes)[0]


def _collected(parts: list[Gradients]) -> Gradients:
    """The gradients of single tasks, each divided by their number, as one; losses and metrics stacked."""
    total = [value.clone() for value in parts[0][0].values()]
    for grads, _, _ in parts[1:]:
        torch._foreach_add_(total, list(grads.values()))
    losses, metrics = [loss for _, loss, _ in parts], [metric for _, _, metric in parts]
    return dict(zip(parts[0][0], total, strict=True)), torch.stack(losses), torch.stack(metrics)
