"""Returns and advantages against their definitions."""

from __future__ import annotations

import torch

from quickstudy.rl.baselines import linear_values
from quickstudy.rl.returns import advantages, discounted, standardised

DISCOUNT, TRACE = 0.9, 0.8


def test_discounted_returns_stop_where_nothing_follows() -> None:
    rewards = torch.tensor([[1.0, 2.0, 4.0, 8.0]])
    goes_on = torch.tensor([[True, False, True, False]])
    wanted = torch.tensor([[1 + 0.5 * 2, 2.0, 4 + 0.5 * 8, 8.0]])
    torch.testing.assert_close(discounted(rewards, goes_on, 0.5), wanted)


def test_advantages_are_the_sum_of_their_definition() -> None:
    """Σ_k (γλ)ᵏ δ_{t+k}, over three lanes of which one ends on the way, one's time is up, and one goes through."""
    draw = torch.Generator().manual_seed(0)
    rewards, values, last = (torch.randn(3, 6, generator=draw, dtype=torch.float64) for _ in range(3))
    goes_on = torch.ones(3, 6, dtype=torch.bool)
    goes_on[:, -1] = goes_on[0, 2] = goes_on[1, 3] = False
    after = torch.cat([values[:, 1:], torch.zeros(3, 1, dtype=torch.float64)], 1)
    after[0, 2], after[1, 3] = 0.0, last[1, 3]  # an end; and what would have followed
    found = advantages(rewards, values, after, goes_on, DISCOUNT, TRACE)
    for lane in range(3):
        for t in range(6):
            total, weight = 0.0, 1.0
            for k in range(t, 6):
                total += weight * float(rewards[lane, k] + DISCOUNT * after[lane, k] - values[lane, k])
                if not goes_on[lane, k]:
                    break
                weight *= DISCOUNT * TRACE
            torch.testing.assert_close(float(found[lane, t]), total)


def test_with_trace_one_advantages_are_returns_less_values() -> None:
    draw = torch.Generator().manual_seed(0)
    rewards, values = (torch.randn(2, 5, generator=draw, dtype=torch.float64) for _ in range(2))
    goes_on = torch.ones(2, 5, dtype=torch.bool)
    goes_on[:, -1] = False
    after = torch.cat([values[:, 1:], torch.zeros(2, 1, dtype=torch.float64)], 1)
    found = advantages(rewards, values, after, goes_on, DISCOUNT, 1.0)
    torch.testing.assert_close(found, discounted(rewards, goes_on, DISCOUNT) - values)


def test_standardised_over_real_steps_alone() -> None:
    advantage, mask = torch.tensor([[1.0, 2.0, 99.0], [3.0, 4.0, -99.0]]), torch.tensor([[True, True, False]] * 2)
    found = standardised(advantage, mask)
    assert found[:, 2].eq(0).all()
    real = found[mask]
    torch.testing.assert_close(real.mean(), torch.tensor(0.0))
    torch.testing.assert_close(real.std(correction=0), torch.tensor(1.0), atol=1e-5, rtol=0)


def test_values_by_regression_find_what_is_linear_in_the_features() -> None:
    draw = torch.Generator().manual_seed(0)
    seen = torch.randn(2, 8, 5, 2, generator=draw, dtype=torch.float64)
    time = torch.arange(5, dtype=torch.float64)
    returns = 3 * seen[..., 0] - 2 * seen[..., 1].square() + 0.5 * time + 1
    mask = torch.ones(2, 8, 5, dtype=torch.bool)
    mask[:, 3, 2:] = False  # an episode that ended early; its padding must not count
    returns = torch.where(mask, returns, 1e3)
    found = linear_values(seen, returns, mask)
    torch.testing.assert_close(found[mask], returns[mask], atol=5e-3, rtol=1e-3)
