"""Partition training: copies of φ are trained apart, on parts of the data, and averaged, round after round."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from quickstudy import rng
from quickstudy.averaging.means import combined, finite, mean
from quickstudy.averaging.members import Member
from quickstudy.brief import Brief
from quickstudy.engine import trains_on
from quickstudy.entries import not_finite
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, TrainingError, unknown_name
from quickstudy.workers import Where, Workers

Backend = Literal["vmap"] | Where
"""How the members of a round train: 'vmap' (all at once, vectorised: fastest where they are small), or see Where."""
_NAME = "member "


@dataclass(frozen=True)
class Round:
    """members: the parts whose members were averaged. lost: those that failed. score: of φ after the round."""

    number: int
    members: tuple[int, ...]
    lost: tuple[int, ...] = ()
    score: float | None = None


@dataclass(frozen=True)
class Trained(Brief):
    """φ after the last round, and what happened in each."""

    params: Params
    rounds: tuple[Round, ...]


def train_parts(
    member: Member,
    params: Params,
    *,
    rounds: int,
    fraction: float = 1.0,
    outer_lr: float = 1.0,
    backend: Backend | Workers = "vmap",
    workers: int | None = None,
    seed: int = 0,
    score: Callable[[Params], float] | None = None,
    every: int = 1,
    until: float = math.inf,
    progress: Callable[[Round], None] | None = None,
) -> Trained:
    """φ ← φ + outer_lr · (mean over members of what they end at − φ), for `rounds` rounds.

    rounds=1 is one-shot averaging; members of one step make synchronous SGD; in between lies local SGD, or FedAvg
    (McMahan et al. 2017). Members count by the number of their examples. With tasks as parts it is Reptile (Nichol et
    al. 2018).

    fraction: of the parts, drawn anew for each round. backend: see Backend; or Workers that are open, to be used again
    after. workers: at once, kept for all rounds; as many as cores if not given. score: of φ, measured every `every`
    rounds; training stops once it is `until` or higher. progress: called after each round.

    A member that fails is tried again and then left out of its round, as is one that ends at NaN; a warning names it.
    Raises TrainingError if a round has no member left.
    """
    if rounds < 1 or not 0 < fraction <= 1 or not outer_lr > 0:
        raise ConfigError(
            "Partition training needs rounds of at least 1, a fraction in (0, 1] and a positive outer_lr, found "
            f"{rounds}, {fraction} and {outer_lr}."
        )
    sizes, history = member.sizes, []
    count = max(1, round(fraction * len(sizes)))
    with _kept(backend, workers) as crew:
        for turn in range(rounds):
            chosen = _drawn(len(sizes), count, seed, turn)
            ended = _trained(member, params, chosen, turn, crew)
            kept = finite(ended) if any(not_finite(model) is None for model in ended.values()) else {}
            if not kept:
                raise TrainingError(
                    f"Every member of round {turn + 1} failed or ended at NaN. See the messages above, or lower the "
                    "rate."
                )
            mine = [int(name.removeprefix(_NAME)) for name in kept]
            average = mean(kept, [sizes[part] for part in mine])
            params = combined([params, average], [1 - outer_lr, outer_lr]) if outer_lr != 1 else average
            measured = score is not None and ((turn + 1) % every == 0 or turn + 1 == rounds)
            value = score(params) if score is not None and measured else None
            history.append(Round(turn + 1, tuple(mine), tuple(p for p in chosen if p not in mine), value))
            if progress is not None:
                progress(history[-1])
            if value is not None and value >= until:
                break
    return Trained(params, tuple(history))


@contextmanager
def _kept(backend: Backend | Workers, workers: int | None) -> Iterator[Workers | None]:
    """The workers of all rounds; None where members are vectorised."""
    if isinstance(backend, Workers):
        if workers is not None:
            raise ConfigError(f"There are {backend.count} workers already, found workers={workers}. Leave it out.")
        yield backend
    elif backend == "vmap":
        yield None
    elif backend in get_args(Where):
        with Workers(backend, workers) as crew:
            yield crew
    else:
        raise unknown_name("backend", backend, ("vmap", *get_args(Where)))


def _drawn(parts: int, count: int, seed: int, turn: int) -> list[int]:
    if count == parts:
        return list(range(parts))
    generator = torch.Generator().manual_seed(int(rng.key(seed, "round", turn)))
    return sorted(torch.randperm(parts, generator=generator)[:count].tolist())


def _trained(
    member: Member, params: Params, chosen: Sequence[int], turn: int, crew: Workers | None
) -> dict[str, Params]:
    """What members end at, by name and in the order of `chosen`; without those that failed."""
    if crew is None:
        trains_on(_device(params))
        ended = member.together(params, chosen, turn)
        return {f"{_NAME}{part}": after for part, after in zip(chosen, ended, strict=True)}
    jobs = ((f"{_NAME}{p}", (member.only(p) if crew.apart else member, params, p, turn)) for p in chosen)
    found = {done.name: done.result for done in crew.outcomes(_train, jobs) if done.result is not None}
    return {name: found[name] for part in chosen if (name := f"{_NAME}{part}") in found}


def _train(member: Member, params: Params, part: int, turn: int) -> Params:
    trains_on(_device(params))  # in whatever process this is
    return member(params, part, turn)


def _device(params: Params) -> torch.device:
    return next(iter(params.values())).device
