"""Two aims at once: what no other beats, and a few of it."""

from __future__ import annotations

import numpy as np
import pytest

from quickstudy.select.pareto import front, spread


def test_the_front_is_what_its_definition_says() -> None:
    """By every pair: kept is what no other point equals or beats in both, and beats in one."""
    drawn = np.random.default_rng(0)
    for _ in range(50):
        scores, costs = drawn.integers(0, 6, 12).astype(float), drawn.integers(0, 6, 12).astype(float)
        beaten = [
            any(
                scores[j] >= scores[i] and costs[j] <= costs[i] and (scores[j] > scores[i] or costs[j] < costs[i])
                for j in range(12)
            )
            for i in range(12)
        ]
        assert sorted(front(scores, costs)) == [i for i in range(12) if not beaten[i]]


@pytest.mark.parametrize("few", [1, 2, 3, 5, 9, 40])
def test_a_few_are_of_the_front_with_its_ends_and_the_best_is_always_among_them(few: int) -> None:
    drawn = np.random.default_rng(few)
    scores, costs = drawn.normal(size=30), drawn.normal(size=30)
    there, picked = front(scores, costs), spread(scores, costs, few)
    assert len(picked) == len(set(picked)) == min(few, 30)
    assert picked[0] == scores.argmax()
    assert [scores[i] for i in picked] == sorted(scores[picked], reverse=True)
    if few > 1:
        assert there[0] in picked and there[-1] in picked
    if few <= len(there):
        assert set(picked) <= set(there.tolist())
    else:
        assert set(picked) >= set(there.tolist())
        assert set(picked) - set(there.tolist()) <= set(np.argsort(-scores)[:few].tolist())
