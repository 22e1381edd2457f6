"""Environments of torch against their published dynamics, and what every one must keep."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.registry import sources
from quickstudy.rl import Bandit, Environment, GridWorld, PointRobot, TabularMDP

ALL: list[Environment] = [
    Bandit(arms=3), Bandit(arms=4, pays="gaussian"), GridWorld(size=4, horizon=6), TabularMDP(states=4, choices=3),
    PointRobot(horizon=5), PointRobot(goals="half-circle", radius=0.3, horizon=5),
]  # fmt: skip


def some_actions(environment: Environment, keys: Tensor) -> Tensor:
    target: Any = environment.actions
    return target.sample(torch.zeros(len(keys), target.outputs), keys)


def course(environment: Environment, keys: Tensor, steps: int = 4) -> list[Tensor]:
    """What is seen and paid in each lane, from random actions."""
    task = environment.task("train", keys)
    state, found = environment.reset(task, keys), []
    for t in range(steps):
        own = rng.fold(keys, t)
        step = environment.step(task, state, some_actions(environment, own), own)
        state = step.state
        found += [environment.observe(task, state), step.reward, step.ended]
    return found


@pytest.mark.parametrize("environment", ALL, ids=str)
def test_a_lane_is_the_same_alone_and_among_others(environment: Environment) -> None:
    keys = rng.split(rng.key(1, "lanes"), 9)
    together = course(environment, keys)
    for lane in (0, 5):
        for whole, own in zip(together, course(environment, keys[lane : lane + 1]), strict=True):
            assert torch.equal(whole[lane : lane + 1], own)
    assert together[0].shape[1:] == environment.observation


@pytest.mark.parametrize("environment", ALL, ids=str)
def test_splits_are_of_other_tasks_unless_all_are_named(environment: Environment) -> None:
    name = {Bandit: "bandit", GridWorld: "gridworld", TabularMDP: "tabular-mdp", PointRobot: "point-robot"}
    source = sources.make(name[type(environment)])
    tasks = {s: source.stage(s, torch.arange(50)).task for s in ("train", "val", "test")}
    for part in tasks["train"]:
        rows = torch.cat(
            [tasks[s][part].flatten(1) if tasks[s][part].dim() > 1 else tasks[s][part][:, None] for s in tasks]
        )
        if environment.tasks("train"):
            assert environment.tasks("train") == environment.tasks("test")
        else:
            assert len(rows.unique(dim=0)) == 150


def test_arms_pay_as_often_as_their_probability_says() -> None:
    bandit, keys = Bandit(arms=3), rng.split(rng.key(0, "pulls"), 20_000)
    task = {"arms": torch.tensor([0.1, 0.5, 0.9]).expand(len(keys), 3)}
    for arm, chance in enumerate((0.1, 0.5, 0.9)):
        step = bandit.step(task, {}, torch.full((len(keys),), arm), keys)
        assert abs(float(step.reward.mean()) - chance) < 4 * math.sqrt(chance * (1 - chance) / len(keys))
        assert step.ended.all()


def test_decision_processes_are_drawn_as_published() -> None:
    """Mean rewards N(1, 1), transitions from a flat Dirichlet distribution: means 1/S, variance (S−1)/(S²(S+1))."""
    world = TabularMDP()
    task = world.task("train", rng.split(rng.key(0, "worlds"), 400))
    assert abs(float(task["means"].mean()) - 1) < 0.03 and abs(float(task["means"].std()) - 1) < 0.03
    chances = task["chances"].double()
    torch.testing.assert_close(chances.sum(-1).float(), torch.ones(400, 10, 5))
    assert abs(float(chances.var()) / (9 / (100 * 11)) - 1) < 0.03
    keys = rng.split(rng.key(1, "steps"), 30_000)
    one = {name: value[:1].expand(len(keys), *value.shape[1:]) for name, value in task.items()}
    state, action = {"state": torch.full((len(keys),), 3)}, torch.full((len(keys),), 2)
    step = world.step(one, state, action, keys)
    shares = step.state["state"].bincount(minlength=10) / len(keys)
    torch.testing.assert_close(shares, task["chances"][0, 3, 2], atol=0.01, rtol=0)
    mean = float(task["means"][0, 3, 2])
    assert abs(float(step.reward.mean()) - mean) < 0.03 and abs(float(step.reward.std()) - 1) < 0.02


def test_a_grid_is_walked_within_its_walls() -> None:
    grid, keys = GridWorld(size=3), torch.zeros(1, dtype=torch.int64)
    task, state = {"goal": torch.tensor([4])}, {"place": torch.zeros(1, 2, dtype=torch.int64)}
    places, rewards = [], []
    for action in (1, 3, 4, 4, 4, 2, 0, 3):  # up and left against walls, right three times, down, stay, left
        step = grid.step(task, state, torch.tensor([action]), keys)
        state = step.state
        places.append(tuple(state["place"][0].tolist()))
        rewards.append(round(float(step.reward), 3))
    assert places == [(0, 0), (0, 0), (0, 1), (0, 2), (0, 2), (1, 2), (1, 2), (1, 1)]
    assert rewards == [-0.1] * 7 + [1.0]


def test_a_point_is_paid_for_its_distance() -> None:
    robot, keys = PointRobot(), torch.zeros(1, dtype=torch.int64)
    task, state = {"goal": torch.tensor([[0.3, 0.4]])}, {"place": torch.zeros(1, 2)}
    step = robot.step(task, state, torch.tensor([[0.5, 7.0]]), keys)  # 7 is cut to 1, and 1 is a move of 0.1
    torch.testing.assert_close(step.state["place"], torch.tensor([[0.05, 0.1]]))
    torch.testing.assert_close(step.reward, torch.tensor([-math.hypot(0.25, 0.3)]))
    sparse = PointRobot(goals="half-circle", radius=0.2)
    near = sparse.step(task, {"place": torch.tensor([[0.3, 0.3]])}, torch.zeros(1, 2), keys)
    far = sparse.step(task, {"place": torch.tensor([[0.0, 0.0]])}, torch.zeros(1, 2), keys)
    torch.testing.assert_close(torch.cat([near.reward, far.reward]), torch.tensor([0.9, 0.0]))
    goals = sparse.task("train", rng.split(rng.key(0, "goals"), 100))["goal"]
    torch.testing.assert_close(goals.norm(dim=1), torch.ones(100))
    assert (goals[:, 1] >= 0).all()


@pytest.mark.parametrize("environment", [Bandit(arms=4), Bandit(arms=4, pays="gaussian"), TabularMDP()])
def test_what_is_expected_is_the_mean_of_what_is_paid(environment: Environment) -> None:
    keys = rng.split(rng.key(0), 20_000)
    one = {
        name: value.expand(len(keys), *value.shape[1:]) for name, value in environment.task("train", keys[:1]).items()
    }
    step = environment.step(one, environment.reset(one, keys), torch.full_like(keys, 2), rng.fold(keys, 1))
    assert step.expected is not None and len(step.expected.unique()) == 1
    assert step.reward.mean().item() == pytest.approx(
        step.expected[0].item(), abs=4 * float(step.reward.std()) / len(keys) ** 0.5
    )
