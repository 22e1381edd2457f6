"""Environments of Gymnasium: a simulator for each lane, in this process and in others."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gym_line import environment, keys, line, same, stepped, trajectory

from quickstudy.errors import DataError, ProcessLost
from quickstudy.registry import sources
from quickstudy.testing import check_source

pytest.importorskip("gymnasium")


def test_the_same_keys_bring_the_same_in_any_batch_and_on_any_number_of_workers(tmp_path: Path) -> None:
    ends = ("# more", "terminated = self.np_random.uniform() < 0.3")
    env = line(tmp_path, ends)
    whole = trajectory(env, keys(5), 8)
    assert 0 < sum(float(t.sum()) for t in whole[3::3]) < 40
    assert same(whole, trajectory(env, keys(5), 8))
    assert same([t[3:4] for t in whole], trajectory(env, keys(5)[3:4], 8))
    assert same([t.flip(0) for t in whole], trajectory(env, keys(5).flip(0), 8))
    apart = line(tmp_path, ends, workers=2)
    assert same(whole, trajectory(apart, keys(5), 8))
    assert len(apart.pool.groups) == 2
    assert same(whole, trajectory(pickle.loads(pickle.dumps(apart)), keys(5), 8))


def test_a_task_reaches_its_own_lane_alone(tmp_path: Path) -> None:
    env = line(tmp_path)
    task = {"numbers": torch.tensor([[0.5], [2.0], [1.0]])}
    state = env.reset(task, keys(3))
    step = env.step(task, state, torch.full((3, 1), 0.5), keys(3))
    # 0.5 of [-1, 1] is 2.5 of [-2, 4]
    moved = (step.state["seen"] - state["seen"])[:, 0]
    assert torch.allclose(moved, 2.5 * task["numbers"][:, 0], atol=1e-6)


def test_only_lanes_that_are_to_begin_do(tmp_path: Path) -> None:
    env = line(tmp_path)
    task = env.task("train", keys(3))
    state = env.step(task, env.reset(task, keys(3)), torch.zeros(3, 1), keys(3)).state
    after = env.anew(task, state, torch.tensor([False, True, False]), keys(3, "other"))
    assert after["seen"][:, 1].tolist() == [1, 0, 1]
    assert torch.equal(after["seen"][::2], state["seen"][::2]) and torch.equal(after["lane"], state["lane"])
    again = env.step(task, after, torch.zeros(3, 1), keys(3)).state
    assert again["seen"][:, 1].tolist() == [2, 1, 2]


def test_a_state_that_a_simulator_has_left_is_refused(tmp_path: Path) -> None:
    env = line(tmp_path)
    task, still = env.task("train", keys(2)), torch.zeros(2, 1)
    state = env.reset(task, keys(2))
    after = env.step(task, state, still, keys(2)).state
    state = env.reset(task, keys(2))
    with pytest.raises(DataError, match="out of date: the simulator of lane 0 has gone on"):
        env.step(task, after, still, keys(2))
    state = env.reset(task, keys(2))
    fresh = env.anew(task, state, torch.tensor([False, True]), keys(2))
    with pytest.raises(DataError, match="lane 1"):
        env.anew(task, state, torch.tensor([True, False]), keys(2))
    with pytest.raises(DataError, match="another task"):
        env.anew({"numbers": task["numbers"].flip(0)}, fresh, torch.tensor([True, False]), keys(2))
    twice = {name: value[[0, 0]] for name, value in fresh.items()}
    with pytest.raises(DataError, match="twice"):
        env.step({"numbers": task["numbers"][[0, 0]]}, twice, still, keys(2))
    half = {name: value[1:] for name, value in env.reset(task, keys(2)).items()}
    assert env.step({"numbers": task["numbers"][1:]}, half, still[1:], keys(1)).state["lane"].tolist() == [1]


def test_an_environment_is_a_source_that_keeps_the_contract() -> None:
    check_source(sources.make("gym", id="cartpole", horizon=1), distinct=False)


def test_each_episode_of_a_level_begins_alike(tmp_path: Path) -> None:
    env = line(tmp_path, vary=(), level=True)
    task = env.task("train", keys(3))
    one, other = env.reset(task, keys(3)), env.reset(task, keys(3, "other"))
    assert torch.equal(one["seen"], other["seen"]) and len(set(one["seen"][:, 0].tolist())) == 3
    free = line(tmp_path)
    task = free.task("train", keys(3))
    assert not torch.equal(free.reset(task, keys(3))["seen"], free.reset(task, keys(3, "other"))["seen"])


def test_a_worker_is_not_burdened_with_pytorch() -> None:
    program = "import sys, quickstudy.simulators.workers; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout.strip() == b"False"


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("new", "said"),
    [
        ("reward = float('nan') if self.t > 3 else 0.0", "gave the reward nan in step 4"),
        ("self.x = np.inf if self.t > 3 else 0.0", "shows NaN or an infinite value"),
        ("truncated = self.t == 4", r"cut an episode off after 4 steps .* horizon=4"),
        ("terminated = self.t == 4", "an episode is over"),
    ],
)
def test_what_nothing_can_be_learned_from_is_refused(tmp_path: Path, workers: int, new: str, said: str) -> None:
    env = line(tmp_path, ("# more", new), workers=workers)
    task, still = env.task("train", keys(2)), torch.zeros(2, 1)
    state = env.reset(task, keys(2))
    with pytest.raises(DataError, match=said):
        stepped(env, task, state, 5)
    with pytest.raises(DataError, match="out of date"):
        env.step(task, state, still, keys(2))
    env.step(task, env.reset(task, keys(2)), still, keys(2))


def test_an_error_of_an_environment_in_a_worker_says_where_it_was(tmp_path: Path) -> None:
    env = line(tmp_path, ("# more", "self.x = self.x / (0 if self.t > 3 else 1)"), workers=1)
    task = env.task("train", keys(1))
    state = env.reset(task, keys(1))
    with pytest.raises(DataError, match=r"ZeroDivisionError.*line.py, line 2\d"):
        stepped(env, task, state, 5)


def test_a_worker_that_dies_is_said_and_replaced(tmp_path: Path) -> None:
    env = line(tmp_path, workers=2)
    task, still = env.task("train", keys(4)), torch.zeros(4, 1)
    state = env.reset(task, keys(4))
    os.kill(env.pool.groups[1].pid, signal.SIGKILL)  # type: ignore[attr-defined]
    with pytest.raises(ProcessLost, match=r"line.py is gone \(signal 9, SIGKILL\)"):
        env.step(task, state, still, keys(4))
    assert not env.pool.groups
    env.step(task, env.reset(task, keys(4)), still, keys(4))


def test_workers_end_with_the_environment(tmp_path: Path) -> None:
    env = line(tmp_path, workers=1)
    env.reset(env.task("train", keys(1)), keys(1))
    process = env.pool.groups[0]._child._process  # type: ignore[attr-defined]
    assert process.poll() is None
    del env
    assert process.wait(10) == 0


def test_time_that_is_up_is_not_an_end(tmp_path: Path) -> None:
    """CartPole's limit of 500 steps is taken off; the environment may say that time is up where the horizon does."""
    env = environment("CartPole-v1", vary=("gravity 0.001 0.002",))
    assert env.horizon == 500
    limited = line(tmp_path, ("# more", "truncated = self.t >= 5"))
    played = sources.make("gym", id=str(tmp_path / "line.py"), vary=("pull 0.5 2",), horizon=5, workers=0)
    stage = played.stage("train", torch.arange(3))
    trial = stage.play(lambda memory, x, first: (memory, torch.zeros(len(first), 3)), {}, 2)
    assert trial.timed[:, [4, 9]].all() and not trial.ended.any() and trial.reward.shape == (3, 10)
    task = limited.task("train", keys(1))
    state = limited.reset(task, keys(1))
    assert not stepped(limited, task, state, 5).ended.any()
    ended = line(tmp_path / "ended", ("# more", "terminated = truncated = self.t == 3"))
    assert not stepped(ended, task, ended.reset(task, keys(1)), 2).ended.any()
    assert stepped(ended, task, ended.reset(task, keys(1)), 3).ended.all()


def test_an_environment_that_was_registered_here_runs_in_workers() -> None:
    import gymnasium
    from gymnasium.envs.classic_control.pendulum import PendulumEnv

    gymnasium.register("Mine-v0", lambda: PendulumEnv(g=3.0), max_episode_steps=20)
    try:
        here, there = (environment("Mine-v0", vary=("m 0.5 1",), workers=workers) for workers in (0, 1))
        assert here.horizon == 20 and same(trajectory(here, keys(2), 3), trajectory(there, keys(2), 3))
    finally:
        del gymnasium.registry["Mine-v0"]
