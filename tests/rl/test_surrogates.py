"""What agents differentiate, against the exact expected return of small decision processes, in float64."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from quickstudy.episode import Examples
from quickstudy.registry import targets
from quickstudy.rl.agents import surrogates
from quickstudy.rl.agents.base import clipped_loss

STATES, CHOICES, HORIZON = 2, 3, 3
DISCOUNT = 0.9


class World:
    """A decision process whose every course can be listed: chances and rewards of each state and action."""

    def __init__(self) -> None:
        draw = torch.Generator().manual_seed(3)
        self.chances = torch.rand(STATES, CHOICES, STATES, generator=draw, dtype=torch.float64)
        self.chances /= self.chances.sum(-1, keepdim=True)
        self.rewards = torch.randn(STATES, CHOICES, generator=draw, dtype=torch.float64)

    def value(self, logits: Tensor) -> Tensor:
        """The expected discounted return from the first state, by the Bellman equation: a scalar."""
        policy = logits.softmax(-1)
        value = logits.new_zeros(STATES)
        for _ in range(HORIZON):
            value = (policy * (self.rewards + DISCOUNT * self.chances @ value)).sum(-1)
        return value[0]

    def courses(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All courses of an episode: states, actions and rewards (n, H), and their probabilities (n,)."""
        rows = []
        for actions in itertools.product(range(CHOICES), repeat=HORIZON):
            for states in itertools.product(range(STATES), repeat=HORIZON - 1):
                rows.append(((0, *states), actions))
        s, a = (torch.tensor(column) for column in zip(*rows, strict=True))
        chance = logits.softmax(-1)[s, a].prod(1) * self.chances[s[:, :-1], a[:, :-1], s[:, 1:]].prod(1)
        return s, a, self.rewards[s, a], chance


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def logits() -> Tensor:
    return torch.randn(STATES, CHOICES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def examples(world: World, at: Tensor) -> tuple[Examples, Tensor]:
    """All courses as one task's episodes, each step's advantage times the probability of its course, so that a mean
    over steps is an expectation; and the states."""
    target = targets.make("actions", count=CHOICES, episodes=1)
    s, a, r, chance = world.courses(at)
    time = DISCOUNT ** torch.arange(HORIZON, dtype=torch.float64)
    to_go = (r * time).flip(1).cumsum(1).flip(1)  # γᵗ times the return from t on
    number = torch.arange(len(s))[:, None].expand_as(s).double()
    weighted = to_go * chance[:, None] * s.numel()
    y = target.label(a, r, number, at.log_softmax(-1)[s, a], weighted, to_go)
    return Examples(torch.empty(0), y.flatten(0, 1), torch.ones(s.numel(), dtype=torch.bool)), s.flatten()


def prediction(at: Tensor, states: Tensor) -> Tensor:
    return torch.cat([at, at.new_zeros(STATES, 1)], 1)[states]


def lvc(at: Tensor, given: Examples, states: Tensor) -> Tensor:
    return surrogates.lvc(targets.make("actions", count=CHOICES), prediction(at, states), given)


def infinitely(at: Tensor, given: Examples, states: Tensor) -> Tensor:
    return surrogates.dice(targets.make("actions", count=CHOICES), prediction(at, states), given)


def test_the_first_derivative_of_each_surrogate_is_the_policy_gradient(world: World) -> None:
    at = logits()
    exact = torch.func.grad(world.value)(at)
    given, states = examples(world, at)
    for surrogate in (lvc, infinitely):
        torch.testing.assert_close(-torch.func.grad(surrogate)(at, given, states), exact)


def test_the_second_derivative_of_dice_is_that_of_the_expected_return(world: World) -> None:
    at = logits()
    exact = torch.func.hessian(world.value)(at)
    given, states = examples(world, at)
    torch.testing.assert_close(-torch.func.hessian(infinitely)(at, given, states), exact)


def test_the_second_derivative_of_lvc_lacks_what_steps_contribute_together(world: World) -> None:
    """∇² = H₁ + H₂ + H₁₂ + H₁₂ᵀ, of which LVC has the first two: with reward-to-go, those of a step alone."""
    at = logits()
    given, states = examples(world, at)
    _, a, _, _ = world.courses(at)
    told = targets.make("actions", count=CHOICES).outcome(given.y)

    def alone(one: Tensor) -> Tensor:
        chance = one.log_softmax(-1)[states, a.flatten()]
        return (chance.exp() / chance.exp().detach() * told.advantage).mean()

    own = -torch.func.hessian(lvc)(at, given, states)
    torch.testing.assert_close(own, torch.func.hessian(alone)(at))
    assert not torch.allclose(own, torch.func.hessian(world.value)(at), atol=1e-3)


def test_a_step_along_dice_gives_the_exact_meta_gradient(world: World) -> None:
    """dJ(θ + α ∇J(θ))/dθ, through the inner step, against the chain rule with the exact Hessian."""
    at, rate = logits(), 0.3
    given, states = examples(world, at)

    def after(one: Tensor) -> Tensor:
        return one - rate * torch.func.grad(infinitely)(one, given, states)

    exact = torch.func.grad(lambda one: world.value(one + rate * torch.func.grad(world.value)(one)))(at)
    torch.testing.assert_close(torch.func.grad(lambda one: world.value(after(one)))(at), exact)


class Ending(World):
    """The same where an episode may end after each step, by its state and action: its courses differ in length."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(5)
        self.ends = torch.rand(STATES, CHOICES, generator=draw, dtype=torch.float64)

    def value(self, logits: Tensor) -> Tensor:
        policy = logits.softmax(-1)
        value = logits.new_zeros(STATES)
        for _ in range(HORIZON):
            value = (policy * (self.rewards + DISCOUNT * (1 - self.ends) * (self.chances @ value))).sum(-1)
        return value[0]

    def episodes(self, at: Tensor) -> tuple[Examples, Tensor, Tensor]:
        """Each course as an episode of its own in HORIZON rows, (n, HORIZON), the states, and its probability (n,)."""
        target, policy = targets.make("actions", count=CHOICES), at.log_softmax(-1)
        rows = []
        open_ones = [([0], list[int](), 1.0)]
        while open_ones:
            states, actions, chance = open_ones.pop()
            for a in range(CHOICES):
                taken, own = [*actions, a], chance * float(policy[states[-1], a].exp())
                stays = 1 - float(self.ends[states[-1], a])
                if len(taken) == HORIZON:
                    rows.append((states, taken, own))
                    continue
                rows.append((states, taken, own * (1 - stays)))
                for after in range(STATES):
                    further = own * stays * float(self.chances[states[-1], a, after])
                    open_ones.append(([*states, after], taken, further))
        mask = torch.tensor([[t < len(a) for t in range(HORIZON)] for _, a, _ in rows])
        s, a = (torch.tensor([(row[i] + [0] * HORIZON)[:HORIZON] for row in rows]) for i in (0, 1))
        r = self.rewards[s, a] * mask
        time = DISCOUNT ** torch.arange(HORIZON, dtype=torch.float64)
        to_go = (r * time).flip(1).cumsum(1).flip(1)
        y = target.label(a, r, torch.zeros_like(s), policy[s, a], to_go, to_go)
        chances = torch.tensor([chance for _, _, chance in rows], dtype=torch.float64)
        return Examples(torch.empty(len(rows), 0), torch.where(mask[..., None], y, 0.0), mask), s, chances


@pytest.mark.parametrize("surrogate", ["lvc", "dice"])
def test_estimates_from_one_episode_are_right_in_the_mean_though_episodes_differ_in_length(surrogate: str) -> None:
    world, at = Ending(), logits()
    given, states, chances = world.episodes(at)
    assert given.mask.sum(1).unique().tolist() == [1, 2, 3]
    torch.testing.assert_close(chances.sum(), torch.ones((), dtype=torch.float64))
    loss = lvc if surrogate == "lvc" else infinitely

    def mean(derivative: Any) -> Tensor:
        each = torch.func.vmap(derivative(loss), in_dims=(None, 0, 0))(at, given, states)
        return torch.tensordot(chances, each, 1)

    torch.testing.assert_close(-HORIZON * mean(torch.func.grad), torch.func.grad(world.value)(at))
    if surrogate == "dice":
        torch.testing.assert_close(-HORIZON * mean(torch.func.hessian), torch.func.hessian(world.value)(at))


def test_the_divergence_of_actions_as_they_were_drawn_is_that_of_their_distributions() -> None:
    """Actions with chances of a half and two quarters, once each quarter: KL(then ‖ now), and its gradient."""
    then = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    drawn = torch.tensor([0, 0, 1, 2])
    now = torch.tensor([0.3, -0.2, 1.0], dtype=torch.float64)

    def exact(logits: Tensor) -> Tensor:
        return (then * (then.log() - logits.log_softmax(0))).sum()

    def estimated(logits: Tensor) -> Tensor:
        return surrogates.divergence(logits.log_softmax(0)[drawn] - then.log()[drawn]).mean()

    ratio = now.softmax(0) / then
    assert float((ratio.sub(1) * then).sum()) == pytest.approx(0)  # the part without a logarithm is 0 in the mean
    torch.testing.assert_close(estimated(now), exact(now))
    torch.testing.assert_close(torch.func.grad(estimated)(now), torch.func.grad(exact)(now))
    assert float(surrogates.divergence(torch.linspace(-3, 3, 61)).min()) >= 0


class Weights:
    clip, value, entropy = 0.2, 0.5, 0.01


@pytest.mark.parametrize(
    ("ratio", "advantage", "gain"),
    [(1.1, 2.0, 2.2), (1.5, 2.0, 2.4), (0.5, 2.0, 1.0), (1.5, -2.0, -3.0), (0.5, -2.0, -1.6), (0.9, -2.0, -1.8)],
)
def test_the_clipped_loss_by_hand(ratio: float, advantage: float, gain: float) -> None:
    target = targets.make("actions", count=2)
    said = torch.tensor([[0.3, -0.4, 1.5]], dtype=torch.float64)  # logits, and a value of 1.5
    chance = said[0, :2].softmax(0)
    told = target.outcome(
        target.label(
            torch.tensor([1]), torch.tensor([0.0], dtype=torch.float64), torch.zeros(1),
            (chance[1] / ratio).log()[None], torch.tensor([advantage]), torch.tensor([2.5]),
        )
    )  # fmt: skip
    entropy = -(chance * chance.log()).sum()
    wanted = -gain + 0.5 * 0.5 * (1.5 - 2.5) ** 2 - 0.01 * entropy
    loss = clipped_loss(Weights, target, said, told, torch.ones(1, dtype=torch.bool))
    torch.testing.assert_close(loss, wanted)


def test_the_clipped_loss_of_what_was_just_played_is_the_policy_gradient_though_episodes_differ_in_length() -> None:
    """Over all courses by their probability, with advantages that are far off by a constant: values are not learned."""
    world, at, target = Ending(), logits(), targets.make("actions", count=CHOICES)
    given, states, chances = world.episodes(at)

    class Alone:
        clip, value, entropy = 0.2, 0.0, 0.0

    def slope(one: Examples, states: Tensor) -> Tensor:
        told = target.outcome(one.y)
        told = told._replace(advantage=told.advantage + 7.0)

        def loss(at: Tensor) -> Tensor:
            said = torch.cat([at[states], at.new_zeros(len(states), 1)], 1)
            return clipped_loss(Alone, target, said, told, one.mask)

        return torch.func.grad(loss)(at)

    each = torch.func.vmap(slope)(given, states)
    torch.testing.assert_close(-HORIZON * torch.tensordot(chances, each, 1), torch.func.grad(world.value)(at))
