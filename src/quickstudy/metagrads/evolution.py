"""Estimates from losses alone, for inner loops whose gradient does not help or does not exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, Params, map_episode, task
from quickstudy.errors import ConfigError, unknown_name
from quickstudy.learners.base import Learner
from quickstudy.metagrads.antithetic import added, both_sides, estimate, noise
from quickstudy.metagrads.base import ONE_TASK, Metagrad, Runner, Score, attached, detached, steps_of
from quickstudy.tasks.base import Source

Method = Literal["es", "pes"]
METHODS: tuple[Method, ...] = ("es", "pes")


@dataclass(frozen=True)
class Evolution(Metagrad):
    """The gradient of the loss smoothed by a normal distribution around φ, from `pairs` of runs with φ ± σ ε.

    method: 'es' compares the query loss at the end, ε (L⁺ − L⁻) / 2σ: antithetic evolution strategies (Salimans et al.
    2017), for any learner. 'pes' draws a new ε for each `segment` of inner steps and compares the query loss at the end
    of each, Σ_i (ε_1 + … + ε_i) (L_i⁺ − L_i⁻) / 2σ: persistent evolution strategies (Vicol, Metz & Sohl-Dickstein
    2021), whose mean is the gradient of the *sum* of these losses. With one segment it is 'es'.

    sigma: σ, in the units of φ. Each task draws its own ε, from the runner's keys. Loss and metric are those at φ.

    Agents that take inner steps play with each φ ± σ ε, by the same chance, and L is less what that brought after
    adapting (ES-MAML, Song et al. 2020): nothing is differentiated in φ. Loss and metric are means over these runs.
    """

    sigma: float = 0.01
    pairs: int = 4
    method: Method = "es"
    segment: int = 1

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown_name("method of evolution strategies", self.method, METHODS)
        if not self.sigma > 0:
            raise ConfigError(f"The estimator 'evolution' perturbs φ by sigma, which must be above 0: {self.sigma}.")
        for name, count in (("pairs", self.pairs), ("segment", self.segment)):
            if count < 1:
                raise ConfigError(f"The estimator 'evolution' needs at least 1 for its option {name!r}, found {count}.")

    def __call__(self, learner: Learner, params: Params, episode: Episode, runner: Runner = ONE_TASK) -> Score:
        if runner.keys is None:
            raise ConfigError(
                "The estimator 'evolution' draws random numbers and was given no keys. Pass a key for each task to "
                "Engine.gradients(params, episodes, keys), a new one in every step, such as quickstudy.rng.fold(key, "
                "step)."
            )
        if self.method == "pes":
            steps_of(learner, "evolution")
        moving, plays = [name for name, value in params.items() if value.requires_grad], self.plays(learner)

        def judged(params: Params, episode: Episode, key: Tensor) -> tuple[Params, Tensor, Tensor]:
            if plays:
                self._require_runs(episode)
            grads = self._estimate(learner, params, moving, episode, key)
            return grads, *(self._paid(learner, episode) if plays else learner.score(params, episode))

        with torch.no_grad():
            grads, loss, metric = runner.tasks(judged)(detached(params), episode, runner.keys)
        summed = {name: grad.reshape(-1, *params[name].shape).sum(0) for name, grad in grads.items()}
        return Score(attached(loss.sum(), params, summed), loss, metric)

    def _estimate(self, learner: Learner, params: Params, moving: list[str], episode: Episode, key: Tensor) -> Params:
        """The mean over the pairs, for one task; key: ()."""
        at = {name: params[name] for name in moving}
        total = {name: torch.zeros_like(value) for name, value in at.items()}
        for pair in range(self.pairs):
            noises = [_drawn(at, key, pair, segment) for segment in range(self._segments(learner))]
            if self.plays(learner):
                losses = [[learner.paid(task(episode, 2 * pair + side).query)[0]] for side in (0, 1)]
            else:
                sides = zip(*(both_sides(params, one, self.sigma) for one in noises), strict=True)
                losses = [self._losses(learner, points, episode) for points in sides]
            summed = {name: torch.zeros_like(value) for name, value in total.items()}
            for one, above, below in zip(noises, *losses, strict=True):
                summed = added(summed, one)
                total = added(total, estimate(summed, above, below, 2 * self.sigma * self.pairs))
        return total

    # Where an agent plays by φ ± σε itself

    def plays(self, learner: Learner) -> bool:
        if learner.apart() is None:
            return False
        if self.method == "pes":
            raise ConfigError(
                f"{type(learner).__name__} is paid after its last inner step alone, and the method 'pes' of the "
                "estimator 'evolution' compares what was lost after each segment. Use the method 'es'."
            )
        return True

    def collected(
        self, learner: Learner, params: Params, source: Source, split: str, indices: Tensor, keys: Tensor
    ) -> Episode:
        """Where an agent plays, those of each φ ± σε of each task, leaves (T, 2 · pairs, …), pair after pair."""
        player = learner.apart() if self.plays(learner) else None
        if player is None:
            return super().collected(learner, params, source, split, indices, keys)
        runs, at = 2 * self.pairs, {n: value for n, value in params.items() if learner.moves(n)}
        points = [
            point for pair in range(self.pairs) for point in both_sides(at, _drawn(at, keys, pair, 0), self.sigma)
        ]
        moved = {n: torch.stack([point[n] for point in points], 1).flatten(0, 1) for n in at}
        still = {n: value.expand(runs * len(keys), *value.shape) for n, value in params.items() if n not in at}
        with torch.no_grad():
            episodes = source.under(player, still | moved).episodes(split, indices.repeat_interleave(runs))
        return map_episode(lambda t: t.view(len(keys), runs, *t.shape[1:]), episodes)

    def _require_runs(self, episode: Episode) -> None:
        if episode.query.mask.dim() != 2 or len(episode.query.mask) != 2 * self.pairs:
            raise ConfigError(
                f"The estimator 'evolution' compares what an agent is paid by {2 * self.pairs} perturbed φ, and was "
                "given episodes that were played by another. Get them from Engine.collected(…), with the same keys."
            )

    def _paid(self, learner: Learner, episode: Episode) -> tuple[Tensor, Tensor]:
        """The mean loss and metric of all runs of one task."""
        losses, metrics = zip(*(learner.paid(task(episode, run).query) for run in range(2 * self.pairs)), strict=True)
        return torch.stack(losses).mean(), torch.stack(metrics).mean()

    # Where it is judged on given episodes

    def _segments(self, learner: Learner) -> int:
        return 1 if self.method == "es" else max(1, -(-steps_of(learner, "evolution").steps // self.segment))

    def _losses(self, learner: Learner, points: Sequence[Params], episode: Episode) -> list[Tensor]:
        """The query loss at the end of each segment, which is run with its own of the `points`."""
        if self.method == "es":
            return [learner.loss(points[0], episode)]
        stepwise = steps_of(learner, "evolution")
        losses: list[Tensor] = []
        state = stepwise.start(points[0], episode.support)
        for index, point in enumerate(points):
            for _ in range(min(self.segment, stepwise.steps - index * self.segment)):
                state = stepwise.step(point, state, episode.support)
            losses.append(stepwise.judge(point, state, episode.query)[0])
        return losses


def _drawn(at: Params, keys: Tensor, pair: int, segment: int) -> Params:
    """The ε of a pair and segment for each key (*lead,): (*lead, …) for each of `at`."""
    return noise(at, rng.fold(rng.fold(keys, pair), segment))
