"""A network that is trained over past tasks to read trials, and says what other points would lose."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from quickstudy import rng as keyed
from quickstudy.episode import Episode, Examples
from quickstudy.errors import ConfigError, DataError, first_of
from quickstudy.registry import formats, learners, models, strategies, targets
from quickstudy.runs.run import Run
from quickstudy.runs.train import train
from quickstudy.select.warm.acquire import best_point, log_improvement
from quickstudy.select.warm.experience import Experience
from quickstudy.select.warm.pool import Pool
from quickstudy.select.warm.portfolio import portfolio
from quickstudy.select.warm.processes import unseen
from quickstudy.select.warm.strategy import Strategy, Tried, untried
from quickstudy.select.warm.surfaces import Surfaces
from quickstudy.space import Array, Space, Values
from quickstudy.spec import TaskSpec
from quickstudy.storage.held import alone
from quickstudy.storage.json import read_json, write_json
from quickstudy.storage.tensors import checksum
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.made_up import FunctionSource
from quickstudy.training.config import RunConfig

_TASK, _ORDER, _UNIT, _SIZE, _MIX = range(5)
_TOLD = "experience.json"
_MOST = 30
"""Trials that are read at most; of more, the best."""


def bent(losses: Tensor, best: Tensor, unit: Tensor) -> Tensor:
    """Losses over the best that was tried, in units; above one unit they count less and less."""
    u = (losses - best) / unit
    return torch.where(u > 0, torch.log1p(u.clamp(min=0)), u)


@dataclass(frozen=True, kw_only=True)
class PastFunctions(FunctionSource):
    """Tasks are past tasks, or mixtures of two: what is read are some trials, what is asked are others.

    x: points (n, D) that all tasks were tried at, y: their losses (T, n), in units of how much they differ between
    tasks. Half of the trials are random, half are among those that are good for another task, as those of a search
    are. Each task has its own unit.
    """

    x: Tensor
    y: Tensor

    def episodes(self, split: str, indices: Tensor) -> Episode:
        keys = self.keys(split, indices)
        count, points = len(indices), self.x.shape[0]
        one, two, other = (keyed.integers(keyed.fold(keyed.fold(keys, _TASK), i), len(self.y)) for i in range(3))
        share = keyed.uniform(keyed.fold(keys, _MIX), (1,), 0.0, 1.0)
        share = torch.where(share < 0.5, 1.0, share)  # half of them are past tasks as they are
        y = share * self.y[one] + (1 - share) * self.y[two]
        noise = keyed.uniform(keyed.fold(keys, _ORDER), (points,), 0.0, 1.0)
        rank = self.y[other].argsort(dim=1).argsort(dim=1) / points
        pull = keyed.uniform(keyed.fold(keyed.fold(keys, _ORDER), 1), (1,), -1.0, 3.0).clamp(min=0.0)
        order = (noise.clamp(min=1e-9).log().neg() * torch.exp(pull * 2 * rank)).argsort(dim=1)
        shots, queries = self.sampling.shots, self.sampling.queries
        mixed = keyed.uniform(keyed.fold(keyed.fold(keys, _ORDER), 2), (points - shots,), 0.0, 1.0).argsort(dim=1)
        asked = order[:, shots:].gather(1, mixed[:, :queries])
        chosen = torch.cat([order[:, :shots], asked], dim=1)
        unit = keyed.uniform(keyed.fold(keys, _UNIT), (1,), -0.7, 0.7).exp()
        y = y.gather(1, chosen) * unit
        first = self.points(self.x[chosen], y[..., None], keyed.fold(keys, _SIZE))
        seen = torch.where(first.support.mask, y[:, :shots], torch.inf).min(dim=1, keepdim=True).values
        z = bent(y, seen, torch.ones(count, 1))[..., None]
        return Episode(first.support._replace(y=z[:, :shots]), first.query._replace(y=z[:, shots:]))


class Reader(NamedTuple):
    """A trained run, the unit of losses, what comes first, and candidates."""

    run: Run
    unit: float
    first: list[Values]
    pool: Pool


def functions(experience: Experience) -> tuple[PastFunctions, float]:
    """The source of past tasks, and the unit of their losses: half the geometric mean of their deviations."""
    groups = experience.groups()
    if len(groups) == 1:
        points, losses = groups[0].points, groups[0].losses
    else:  # what was not tried is filled in
        points = tuple(p for group in groups for p in group.points)[:1000]
        surfaces = Surfaces.of(experience, "plain")
        means = np.concatenate([g.losses.mean(0) for g in groups])
        deviations = np.concatenate([g.losses.std(0) for g in groups])
        losses = surfaces.values(experience.space.encode(points)) * deviations + means
    deviations = losses.std(axis=0)
    unit = 0.5 * float(np.exp(np.log(np.maximum(deviations, 1e-9 * deviations.max())).mean()))
    columns = experience.space.columns
    return PastFunctions(
        x=torch.tensor(experience.space.encode(points), dtype=torch.float32),
        y=torch.tensor(((losses - losses.min(axis=0)) / unit).T, dtype=torch.float32),
        spec=TaskSpec(formats.make("array", shape=(columns,)), targets.make("numbers")),
        sampling=Sampling(ways=1, shots=10, queries=10),
    ), unit


def config(iterations: int, width: int, layers: int, points: int, seed: int) -> RunConfig:
    """How the network is trained: an in-context transformer, on up to half of the points."""
    shots = min(_MOST, points // 2)
    return RunConfig(
        name="warm-meta", model=models.part("mlp", width=width, depth=1),
        learner=learners.part("incontext", width=width, layers=layers, heads=4), ways=1,
        shots=shots, queries=min(50, points - shots), min_shots=1, iterations=iterations, meta_batch=8, lr=1e-3,
        schedule="OneCycleLR", schedule_options={"pct_start": 0.05, "cycle_momentum": False}, clip=1.0,
        vectorize="vmap", compile="off", validate_every=iterations, validation_episodes=64,
        checkpoint_every=iterations, log_every=iterations, seed=seed,
    )  # fmt: skip


@strategies.register("meta", experienced=True)
@dataclass(frozen=True, kw_only=True)
class Meta(Strategy):
    """Expected improvement under an in-context network, meta-trained over past tasks: support sets are trials, queries
    are points that were not tried.

    start: points of the portfolio before it. iterations: steps of training. width, layers: of the network. run: the
    folder where it is kept, for later searches with the same experience and options; it is trained in every search if
    not given. The folder is there when training is over; what was stopped before that begins anew.
    """

    start: int = 1
    iterations: int = 3000
    width: int = 64
    layers: int = 3
    run: str = ""

    def prepare(self, space: Space, experience: Experience, seed: int) -> Reader:
        source, unit = functions(experience)
        if len(source.x) < 4:
            raise ConfigError(f"Past tasks share {len(source.x)} points; a network needs 4 or more. Use `surfaces`.")
        first = portfolio(experience, max(self.start, 1), space)
        return Reader(self._trained(source, seed), unit, first, Pool.of(space, seed))

    def _trained(self, source: PastFunctions, seed: int) -> Run:
        how = config(self.iterations, self.width, self.layers, len(source.x), seed)
        if not self.run:
            with tempfile.TemporaryDirectory() as folder:
                run = train(how, out=Path(folder) / "run", source=source, quiet=True)
                run.params  # noqa: B018 (read before the folder goes)
            return run
        told = {"experience": checksum(source.x.numpy().tobytes(), source.y.numpy().tobytes())}
        place = Path(self.run)
        with alone(place):
            if not place.exists():
                begun = place.with_name(f"{place.name}.begun")
                train(how, out=begun, source=source, overwrite=True, quiet=True)
                write_json(begun / _TOLD, told)
                begun.rename(place)
        return _kept(place, told, how, source)

    def propose(self, prepared: Reader, space: Space, tried: Tried, rng: np.random.Generator) -> Values:
        if (first := unseen(prepared.first, max(self.start, 1), tried)) is not None:
            return first
        if not tried.points:
            return untried(space, tried, rng)
        kept = np.argsort(tried.losses, kind="stable")[:_MOST]
        x = torch.tensor(space.encode([tried.points[int(i)] for i in kept]), dtype=torch.float32)
        losses = torch.tensor(tried.losses[kept])
        y = bent(losses, losses.min(), torch.tensor(prepared.unit, dtype=torch.float64)).float()[:, None]
        learner, params = prepared.run.learner.evaluated(), prepared.run.params
        with torch.no_grad():
            state = learner.adapt(params, Examples(x, y, torch.ones(len(x), dtype=torch.bool)))

        def score(at: Array, _: Array | None) -> Array:
            with torch.no_grad():
                said: Any = learner.predictive(params, state, torch.tensor(at, dtype=torch.float32))
            mean, spread = (one.double().numpy().reshape(-1) for one in (said.mean, said.spread))
            return log_improvement(mean, np.maximum(spread, 1e-6), 0.0)

        return best_point(score, prepared.pool, space, tried, rng)


def _kept(place: Path, told: dict[str, str], how: RunConfig, source: PastFunctions) -> Run:
    """The run of a network that was trained before; DataError where that was on other experience, ConfigError where it
    was otherwise than `how`, whose seed does not count."""
    if not (place / _TOLD).exists():
        raise DataError(
            f"{place} holds no network of past tasks: it has no {_TOLD}. Remove it if its training was stopped, or "
            "name another folder."
        )
    if read_json(place / _TOLD, dict[str, str]) != told:
        raise DataError(
            f"The network in {place} was trained on other experience. Name another folder, where a new one is trained, "
            "or give the experience that it had."
        )
    run = Run(place, source=source)
    if (had := _options(run.config)) != (asked := _options(how)):
        raise ConfigError(
            f"The network in {place} was trained with {first_of(had)}, and {first_of(asked)} are asked for. Give the "
            "options that it had, or name another folder, where a new one is trained."
        )
    return run


def _options(config: RunConfig) -> list[str]:
    """The options of `meta` that made this config."""
    learner = config.learner.settings()
    return [f"iterations={config.iterations}", *(f"{name}={learner[name]}" for name in ("width", "layers"))]
