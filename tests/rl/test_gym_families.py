"""Families of Gymnasium: published dynamics and rewards."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from gym_line import environment, keys, same, trajectory
from torch import Tensor

from quickstudy import rng
from quickstudy.rl.environments.highway import Highway

pytest.importorskip("gymnasium")


@pytest.mark.parametrize("id", ["cartpole", "CartPole-v1"])
def test_a_step_of_cart_and_pole_is_barto_sutton_and_andersons(id: str) -> None:
    """Their equations (1983), one step of Euler's, where every lane has a half length and a mass of its own."""
    env = environment(id, vary=("length 0.3 0.9", "masspole 0.05 0.5"), horizon=50)
    task = env.task("train", keys(6))
    state = env.reset(task, keys(6))
    x, v, angle, spin = state["seen"].double().unbind(-1)
    length, pole = task["numbers"].double().unbind(-1)
    assert len(set(length.tolist())) == 6
    action = torch.tensor([0, 1, 0, 1, 1, 0])
    force, total = 20.0 * action - 10.0, pole + 1.0
    push = (force + pole * length * spin.square() * angle.sin()) / total
    turn = (9.8 * angle.sin() - angle.cos() * push) / (length * (4 / 3 - pole * angle.cos().square() / total))
    speed_up = push - pole * length * turn * angle.cos() / total
    expected = torch.stack([x + 0.02 * v, v + 0.02 * speed_up, angle + 0.02 * spin, spin + 0.02 * turn], -1)
    step = env.step(task, state, action, keys(6))
    assert torch.allclose(step.state["seen"].double(), expected, atol=1e-6)
    assert step.reward.tolist() == [1.0] * 6 and not step.ended.any()


def test_a_step_of_the_pendulum_is_its_equation() -> None:
    """θ̈ = 3 g sin θ / (2 l) + 3 u / (m l²), and actions of [−1, 1] are torques of [−2, 2]."""
    env = environment("pendulum")
    task = env.task("test", keys(5))
    state = env.reset(task, keys(5))
    cos, sin, spin = state["seen"].double().unbind(-1)
    g, m, length = task["numbers"].double().unbind(-1)
    action = torch.tensor([[-1.0], [-0.3], [0.0], [0.7], [5.0]])
    u, angle = 2 * action[:, 0].double().clamp(-1, 1), torch.atan2(sin, cos)
    step = env.step(task, state, action, keys(5))
    cost = angle.square() + 0.1 * spin.square() + 0.001 * u.square()
    after = (spin + 0.05 * (3 * g / (2 * length) * sin + 3 / (m * length**2) * u)).clamp(-8, 8)
    angle = angle + 0.05 * after
    assert torch.allclose(step.reward.double(), -cost, atol=1e-5)
    assert torch.allclose(step.state["seen"].double(), torch.stack([angle.cos(), angle.sin(), after], -1), atol=1e-5)


def played(id: str, numbers: Tensor, steps: int = 4) -> tuple[list[Tensor], list[Tensor]]:
    """Seen and rewards in lanes of these numbers, all from one seed and with the same actions."""
    env = environment(id)
    count = len(numbers)
    alike = rng.key(0, "alike").expand(count)
    task = {"numbers": numbers}
    state = env.reset(task, alike)
    seen, rewards = [state["seen"]], []
    for t in range(steps):
        action = rng.uniform(rng.fold(alike, t), (env.facts.size,), -1.0, 1.0)
        step = env.step(task, state, action, alike)
        state = step.state
        seen.append(state["seen"])
        rewards.append(step.reward + 0.05 * action.square().sum(-1) * id.startswith("cheetah"))
    return seen, rewards


def test_rewards_of_half_cheetah_are_the_published_ones() -> None:
    """Of opposite directions opposite velocities; of wanted velocities the distance to the same velocity."""
    pytest.importorskip("mujoco")
    seen, along = played("cheetah-dir", torch.tensor([[1.0], [-1.0]]))
    assert all(torch.equal(one[0], one[1]) for one in seen)
    assert all(torch.allclose(one[0], -one[1], atol=1e-6) and abs(float(one[0])) > 1e-3 for one in along)
    _, wanted = played("cheetah-vel", torch.tensor([[0.0], [0.5], [3.0]]))
    for one, v in zip(wanted, along, strict=True):
        assert torch.allclose(one, -(v[0] - torch.tensor([0.0, 0.5, 3.0])).abs(), atol=1e-5)


def test_rewards_of_ants_in_two_directions_make_up_those_in_all() -> None:
    """Reward(φ) − rest = cos φ · vx + sin φ · vy, where 0 and π give the rest and vx."""
    pytest.importorskip("mujoco")
    angles = torch.tensor([[0.0], [math.pi], [math.pi / 2], [1.0]])
    for ahead, back, left, other in (step.double() for step in played("ant-dir", angles)[1]):
        rest = (ahead + back) / 2
        expected = math.cos(1.0) * (ahead - rest) + math.sin(1.0) * (left - rest) + rest
        assert torch.allclose(other, expected, atol=1e-5) and abs(float(ahead - back)) > 1e-3


def test_reachers_goal_is_rewarded_and_not_seen() -> None:
    """The two cosines and sines give where the fingertip is, which is seen; the goal is in the reward alone."""
    pytest.importorskip("mujoco")
    numbers = torch.tensor([[0.3, 0.5], [2.0, 0.9]])
    seen, _ = played("reacher", numbers, steps=3)
    assert all(torch.equal(one[0], one[1]) for one in seen)
    one, two = torch.atan2(seen[-1][:, 2], seen[-1][:, 0]), torch.atan2(seen[-1][:, 3], seen[-1][:, 1])
    tip = torch.stack([0.1 * one.cos() + 0.11 * (one + two).cos(), 0.1 * one.sin() + 0.11 * (one + two).sin()], -1)
    assert torch.allclose(seen[-1][:, 6:], tip, atol=1e-4)
    env, still = environment("reacher"), torch.zeros(2, 2)
    state = env.reset({"numbers": numbers}, keys(2))
    step = env.step({"numbers": numbers}, state, still, keys(2))
    goal = 0.2 * numbers[:, 1:].sqrt() * torch.stack([numbers[:, 0].cos(), numbers[:, 0].sin()], -1)
    assert torch.allclose(step.reward, -(step.state["seen"][:, 6:] - goal).norm(dim=-1), atol=1e-5)


def test_a_mass_of_mujoco_reaches_what_is_computed_of_it() -> None:
    pytest.importorskip("mujoco")
    env = environment("HalfCheetah-v5", vary=("model.body_mass.1 3 9",))
    task = env.task("train", keys(2))
    env.reset(task, keys(2))
    models = [simulator._env.unwrapped.model for simulator in env.pool.groups[0]._simulators.values()]  # type: ignore[attr-defined]
    assert [float(m.body_mass[1]) for m in models] == pytest.approx(task["numbers"][:, 0].tolist())
    assert [float(m.body_subtreemass[0]) for m in models] == pytest.approx([float(m.body_mass.sum()) for m in models])


def test_a_family_whose_package_lacks_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['highway_env'] = sys.modules['mujoco'] = None\n"
        "from quickstudy.registry import sources; from quickstudy.errors import MissingExtra\n"
        "for id, vary in (('highway', ()), ('cheetah-vel', ()), ('HalfCheetah-v5', ('model.opt.timestep 1 2',))):\n"
        "    try: sources.make('gym', id=id, vary=vary)\n"
        "    except MissingExtra as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "'highway-env'" in said and "quickstudy[rl,worlds]" in said and said.count("quickstudy[rl]") == 2


@pytest.mark.parametrize(
    ("id", "package", "shape", "tasks"),
    [
        ("highway", "highway_env", (25,), 0),
        ("highway-rules", "highway_env", (22,), 0),
        ("parking", "highway_env", (6,), 18),
        ("minigrid", "minigrid", (20, 7, 7), 0),
        ("breakout", "ale_py", (128,), 16),
    ],
)
def test_families_of_other_packages_are_played(id: str, package: str, shape: tuple[int, ...], tasks: int) -> None:
    pytest.importorskip(package)
    env = environment(id)
    assert env.observation == shape and len(env.tasks("train")) == tasks
    one = trajectory(env, keys(2), 3)
    assert same(one, trajectory(env, keys(2), 3)) and not torch.equal(one[0][0], one[-3][0])
    assert same([t[1:] for t in one], trajectory(env, keys(2)[1:], 3))


def test_roads_of_highway_env_are_seen_and_paid_as_our_own() -> None:
    """What our own road reads of an observation is where highway-env's cars are."""
    pytest.importorskip("highway_env")
    env, road = environment("highway-rules"), Highway()
    task = {"numbers": torch.tensor([[22.0, 0.25, 1.2, 3.0]])}
    state, one, same = env.reset(task, keys(1)), keys(1), 0
    for _ in range(6):
        seen = road.read(env.observe(task, state))
        inner = next(iter(env.pool.groups[0]._simulators.values()))._env.unwrapped  # type: ignore[attr-defined]
        car = inner.vehicle
        assert float(seen.speed) == pytest.approx(car.speed, abs=1e-4) and float(seen.left) == car.lane_index[2]
        for i, lane in enumerate(range(car.lane_index[2] - 1, car.lane_index[2] + 2)):
            those = [v for v in inner.road.vehicles if v is not car and v.lane_index[2] == lane]
            ahead = [v for v in those if 0 < v.position[0] - car.position[0] < 105]
            assert bool(seen.there[0, i, 0]) == bool(ahead)
            if ahead:
                next_one = min(ahead, key=lambda v: v.position[0])
                assert float(seen.gap[0, i, 0]) == pytest.approx(next_one.position[0] - car.position[0] - 5, abs=1e-3)
                assert float(seen.faster[0, i, 0]) == pytest.approx(next_one.speed - car.speed, abs=1e-3)
                same += 1
        step = env.step(task, state, torch.tensor([4]), one)
        state = step.state
        paid = 0.8 * max(0.0, 1 - abs(car.speed - 22) / 10) + 0.2 * (1 - abs(car.lane_index[2] / 2 - 0.25))
        assert float(step.reward) == pytest.approx(0.0 if car.crashed else paid, abs=1e-4)
    assert same


def test_a_parking_spot_is_a_tasks_own() -> None:
    """Where the goal lies does not follow from the episode's seed, and is in the reward."""
    pytest.importorskip("highway_env")
    env, task = environment("parking"), {"numbers": torch.tensor([[3.0], [20.0]])}
    spots, rewards = [], []
    for label in ("one", "other"):
        state = env.reset(task, rng.key(0, label).expand(2))
        rewards.append(env.step(task, state, torch.zeros(2, 2), keys(2)).reward)
        cars = [
            simulator._env.unwrapped.controlled_vehicles[0] for simulator in env.pool.groups[0]._simulators.values()
        ]  # type: ignore[attr-defined]
        spots.append(torch.tensor([[*car.goal.position] for car in cars]))
    assert torch.equal(spots[0], spots[1]) and float((spots[0][0] - spots[0][1]).abs().max()) > 3
    assert all(abs(float(one[0] - one[1])) > 1e-3 for one in rewards)


def test_each_cell_of_minigrid_has_one_object_colour_and_state() -> None:
    pytest.importorskip("minigrid")
    for env in (environment("minigrid"), environment("MiniGrid-LavaCrossingS9N1-v0", level=True, horizon=9)):
        seen = trajectory(env, keys(2), 4)[-3]
        assert seen.shape == (2, 20, 7, 7) and (seen.sum(1) == 3).all() and ((seen == 0) | (seen == 1)).all()
