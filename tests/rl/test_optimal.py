"""What the best agent gets, against other ways to compute it."""

from __future__ import annotations

import itertools
from functools import lru_cache

import pytest

from quickstudy.rl.optimal import belief_optimal, bernoulli_optimal


def test_two_pulls_of_two_arms_by_hand() -> None:
    """½ at first; then 2/3 again after a success, and ½ from the other arm after a failure."""
    assert bernoulli_optimal(2, 2) == pytest.approx(0.5 + 0.5 * 2 / 3 + 0.5 * 0.5)
    assert bernoulli_optimal(1, 7) == pytest.approx(3.5)
    assert bernoulli_optimal(20, 3) == pytest.approx(bernoulli_optimal(3, 3))  # a fourth arm is never needed


@pytest.mark.parametrize(("arms", "pulls"), [(2, 5), (3, 4)])
def test_bandits_by_recursion_over_what_was_seen(arms: int, pulls: int) -> None:
    @lru_cache(None)
    def value(seen: tuple[tuple[int, int], ...], left: int) -> float:
        if not left:
            return 0.0
        found = []
        for arm, (won, lost) in enumerate(seen):
            chance = (won + 1) / (won + lost + 2)
            good, bad = ((won + 1, lost), (won, lost + 1))
            after = [value((*seen[:arm], one, *seen[arm + 1 :]), left - 1) for one in (good, bad)]
            found.append(chance * (1 + after[0]) + (1 - chance) * after[1])
        return max(found)

    assert bernoulli_optimal(arms, pulls) == pytest.approx(value(((0, 0),) * arms, pulls), abs=1e-12)


def test_ten_pulls_of_five_arms() -> None:
    assert bernoulli_optimal(5, 10) == pytest.approx(6.66, abs=0.01)


def every_search(size: int, horizon: int, episodes: int, penalty: float) -> float:
    """The best of all walks, tried one by one, each until the goal is found; then the shortest way."""
    moves = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
    goals = [g for g in itertools.product(range(size), repeat=2) if g != (0, 0)]
    best = -1e9
    for plan in itertools.product(range(len(moves)), repeat=horizon * episodes):
        places = []
        for t, move in enumerate(plan):
            r, c = (0, 0) if t % horizon == 0 else places[-1]
            r, c = (min(max(v + d, 0), size - 1) for v, d in zip((r, c), moves[move], strict=True))
            places.append((r, c))
        total = 0.0
        for goal in goals:
            found = places.index(goal) if goal in places else len(places)
            for t in range(len(places)):
                episode, step = divmod(t, horizon)
                there = t >= found and (episode == found // horizon or step + 1 >= sum(goal))
                total += 1.0 if there else penalty
        best = max(best, total / len(goals))
    return best


@pytest.mark.parametrize(("horizon", "episodes"), [(2, 2), (3, 1), (1, 3), (5, 1)])
def test_searches_of_a_small_grid_one_by_one(horizon: int, episodes: int) -> None:
    assert belief_optimal(2, horizon, episodes) == pytest.approx(every_search(2, horizon, episodes, -0.1))


def test_the_best_sweep_of_one_episode() -> None:
    """15 new cells in 15 steps of 24: (Σ (16 − k) − 0.1 (k − 1) − 9 · 1.5) / 24."""
    wanted = sum((16 - k) - 0.1 * (k - 1) for k in range(1, 16)) - 9 * 1.5
    assert belief_optimal(5, 15, 1) == pytest.approx(wanted / 24)


def test_more_episodes_bring_more_than_one_by_one() -> None:
    one, two = belief_optimal(3, 6, 1), belief_optimal(3, 6, 2)
    assert two > 2 * one + 1
