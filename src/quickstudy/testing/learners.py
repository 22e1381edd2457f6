"""What a learner must keep."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from quickstudy.engine import Engine
from quickstudy.engine.vectorize import tasks_of
from quickstudy.episode import Episode, Examples, Params, map_episode, map_features, stack
from quickstudy.errors import ConfigError
from quickstudy.learners import IterativeLearner, Learner, frozen
from quickstudy.testing.claims import equal, require


def check_learner(learner: Learner, episodes: Episode) -> None:
    """Check a learner against its contract on a batch of small `episodes`; raises AssertionError saying what is broken.

    In float64: deterministic initialisation; pure `adapt` and `predict`; vmap = loop; the exact meta-gradient = central
    finite differences; n steps = n times one step; and the invariances below, with φ calibrated on the episodes.
    episodes: with a leading task axis, T ≥ 2 tasks, every class in every support set, Q ≥ 2 queries.
    Relabelling the classes must permute the output of a learner that is `symmetric`, and the order of the support set
    must not matter to one that is `exchangeable`. Padding must matter to none, unless it is transductive: batch
    statistics see it.
    """
    first, again, other = (learner.init(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    _require_tensors(first, "φ (what `init` returns)")
    require(_close(first, again, exact=True), "`init` with the same generator gives different φ.")
    try:
        learner.require_entries(first)
    except ConfigError as error:
        raise AssertionError(str(error)) from error
    draws = any(network.drawn for network in learner.networks.values())
    drawn = not draws or not _close(first, other, exact=True)
    require(drawn, "`init` ignores its generator: two seeds give the same φ.")
    params, episodes = {name: _double(value) for name, value in first.items()}, map_episode(_double, episodes)
    singles = list(tasks_of(episodes))
    _check_engine(learner, params, episodes)
    _check_meta_gradient(learner, params, singles)
    calibrated = learner.calibrate(params, singles)
    for phi in (params, calibrated):
        _check_pure(learner, phi, singles[0])
    if isinstance(learner, IterativeLearner):
        _check_steps(learner, calibrated, singles[0].support)
    _check_invariances(learner, calibrated, singles[0])
    _check_tally(learner, calibrated, singles[0])
    if learner.spec.target.relabels:
        _check_other_ways(learner, calibrated, singles[0])


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _close(one: Mapping[str, Tensor], other: Mapping[str, Tensor], exact: bool = False) -> bool:
    same = torch.equal if exact else partial(torch.allclose, rtol=1e-6, atol=1e-9)
    return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)


def _require_tensors(found: object, what: str) -> None:
    flat = isinstance(found, dict) and all(isinstance(n, str) and isinstance(t, Tensor) for n, t in found.items())
    require(flat, f"{what} must be a flat dict from names to tensors, found {type(found).__name__}.")


def _answer(learner: Learner, params: Params, episode: Episode) -> Tensor:
    return learner.predict(params, learner.adapt(params, episode.support), episode.query.x)


def _check_pure(learner: Learner, params: Params, episode: Episode) -> None:
    before, kept = {n: p.clone() for n, p in params.items()}, map_episode(torch.clone, episode)
    state = learner.adapt(params, episode.support)
    _require_tensors(state, "ψ (what `adapt` returns)")
    copy = {name: value.clone() for name, value in state.items()}
    output = learner.predict(params, state, episode.query.x)
    shape, wanted = tuple(output.shape), (len(episode.query.y), *learner.spec.target.prediction_shape)
    require(shape == wanted, f"`predict` gives shape {shape}, expected {wanted}.")
    require(bool(torch.isfinite(output).all()), "`predict` gives NaN or infinite values.")
    require(_close(state, copy, exact=True), "`predict` changes ψ in place.")
    require(_close(state, learner.adapt(params, episode.support), exact=True), "`adapt` twice gives different ψ.")
    require(torch.equal(output, learner.predict(params, state, episode.query.x)), "`predict` twice gives two answers.")
    same = torch.equal(output, frozen(learner, params, state)(episode.query.x))
    require(same, "`frozen` answers otherwise than `predict`, which needs what `predicts_with` leaves out.")
    loss = learner.loss(params, episode)
    require(loss.dim() == 0 and bool(torch.isfinite(loss)), f"The loss must be one finite number, found {loss}.")
    require(_close(params, before, exact=True), "φ was changed in place.")
    require(equal(episode, kept), "The episode was changed in place.")


def _check_engine(learner: Learner, params: Params, episodes: Episode) -> None:
    vmap, loop = (Engine(learner, torch.device("cpu"), mode) for mode in ("vmap", "loop"))
    one, other = vmap.gradients(params, episodes), loop.gradients(params, episodes)
    require(_close(one[0], other[0]), "The meta-gradients of vmap and of a loop over tasks differ.")
    require(torch.allclose(one[1], other[1], rtol=1e-9), "The losses of vmap and of a loop over tasks differ.")
    same = torch.allclose(vmap.predictions(params, episodes), loop.predictions(params, episodes), rtol=1e-6, atol=1e-9)
    require(same, "The predictions of vmap and of a loop over tasks differ.")


def _check_meta_gradient(learner: Learner, params: Params, singles: list[Episode], eps: float = 1e-6) -> None:
    """The estimator 'unrolled' against (L(φ + εd) − L(φ − εd)) / 2ε along random directions d."""
    grads, _, _ = Engine(learner, torch.device("cpu"), "loop", metagrad="unrolled").gradients(params, stack(singles))
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        along = {n: torch.randn(g.shape, generator=generator, dtype=g.dtype) for n, g in grads.items()}
        ends = []
        for sign in (1, -1):
            moved = params | {name: params[name] + sign * eps * d for name, d in along.items()}
            with torch.no_grad():
                ends.append(torch.stack([learner.loss(moved, episode) for episode in singles]).mean())
        found, wanted = sum(float((grads[n] * d).sum()) for n, d in along.items()), float(ends[0] - ends[1]) / 2 / eps
        norm = sum(float(g.square().sum()) for g in grads.values()) ** 0.5
        require(
            abs(found - wanted) <= 1e-5 * norm + 1e-8,
            f"The meta-gradient along a direction is {found:.8g}, finite differences give {wanted:.8g}. "
            "Something between φ and the loss is detached, converted to a lower precision or not differentiable.",
        )


def _check_steps(learner: IterativeLearner, params: Params, support: Examples) -> None:
    state = learner.start(params, support)
    for steps in range(3):
        same = _close(state, learner.with_steps(steps).adapt(params, support))
        require(same, f"`adapt` with {steps} steps is not `start` and {steps} times `step`.")
        state = learner.step(params, state, support)


def _check_invariances(learner: Learner, params: Params, episode: Episode) -> None:
    close = partial(torch.allclose, rtol=1e-6, atol=1e-8)
    (x, y, mask), query = episode.support, episode.query
    plain = _answer(learner, params, episode)
    generator = torch.Generator().manual_seed(0)
    if learner.exchangeable:
        order = torch.randperm(len(y), generator=generator)
        shuffled = Examples(map_features(lambda t: t[order], x), y[order], mask[order])
        answer = _answer(learner, params, Episode(shuffled, query))
        require(close(plain, answer), "Shuffling the support changes the answer.")
    if learner.symmetric:
        renamed = (y + 1) % learner.spec.ways
        answer = _answer(learner, params, Episode(Examples(x, renamed, mask), query))
        require(close(plain.roll(1, 1), answer), "Relabelling the classes does not permute the answer.")
    fewer = query._replace(x=map_features(lambda t: t[: len(t) // 2], query.x))
    alone = _answer(learner, params, Episode(episode.support, fewer))
    same = close(plain[: len(alone)], alone)
    require(same or learner.transductive, "A query's answer depends on its neighbours: set `transductive`.")
    require(not same or not learner.transductive, "`transductive` is set, but queries do not depend on each other.")
    if not learner.transductive:
        joined = map_features(lambda t: torch.cat([t, t.flip(0)[:2] + 1]), x)
        padded = Examples(joined, torch.cat([y, y[:2]]), torch.cat([mask, torch.zeros(2, dtype=torch.bool)]))
        answer = _answer(learner, params, Episode(padded, query))
        require(close(plain, answer), "Padding in the support changes the answer.")


def _check_tally(learner: Learner, params: Params, episode: Episode) -> None:
    """The sums of two halves of the support set, added, must give what learning all at once gives."""
    x, y, mask = episode.support
    first = torch.arange(len(y)) % 3 == 0
    parts = [learner.tally(params, Examples(x, y, mask & half)) for half in (first, ~first)]
    if parts[0] is None or parts[1] is None:
        return
    answer = learner.predict(params, learner.settled(params, parts[0].plus(parts[1])), episode.query.x)
    same = torch.allclose(answer, _answer(learner, params, episode), rtol=1e-6, atol=1e-8)
    require(same, "`settled` makes another ψ of the sum of two tallies than `adapt` of all examples at once.")


def _check_other_ways(learner: Learner, params: Params, episode: Episode) -> None:
    ways = learner.spec.ways + 1
    try:
        wider = learner.at(learner.spec.at(ways))
    except ConfigError:
        return  # refusing is fine, as long as it is said in so many words
    found = tuple(_answer(wider, params, episode).shape)
    wanted = (len(episode.query.y), *wider.spec.target.prediction_shape)
    require(found == wanted, f"`at` {ways} ways, `predict` gives shape {found}.")
