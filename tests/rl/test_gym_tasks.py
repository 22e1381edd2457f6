"""What tasks of Gymnasium's environments differ in, what is seen and done in them, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from gym_line import environment, keys, line

from quickstudy.errors import ConfigError, DataError, MissingExtra

pytest.importorskip("gymnasium")


def test_numbers_are_drawn_as_they_are_written() -> None:
    env = environment("CartPole-v1", vary=("length 0.3 0.7", "masspole 0.1|0.25", "tau 0.01 0.02"), horizon=9)
    numbers = {split: env.task(split, keys(200, split))["numbers"] for split in ("train", "val", "test")}
    train = numbers["train"]
    assert 0.3 <= float(train[:, 0].min()) < 0.32 and 0.68 < float(train[:, 0].max()) < 0.7
    assert {round(value, 6) for value in train[:, 1].tolist()} == {0.1, 0.25}
    lengths = [set(part[:, 0].tolist()) for part in numbers.values()]
    assert not (lengths[0] & lengths[1] or lengths[0] & lengths[2] or lengths[1] & lengths[2])
    assert abs(float(torch.corrcoef(train[:, [0, 2]].T)[0, 1])) < 0.2
    assert env.tasks("train") == []


def test_few_tasks_are_named_and_held_out_where_there_are_five() -> None:
    env = environment("CartPole-v1", vary=("force_mag 5..10", "gravity 8|9.8"))
    splits = [env.tasks(split) for split in ("train", "val", "test")]
    assert [len(names) for names in splits] == [8, 2, 2] and len({name for names in splits for name in names}) == 12
    assert "force_mag 5, gravity 9.8" in {name for names in splits for name in names}
    rows = {tuple(row) for row in env.task("val", keys(50))["numbers"].tolist()}
    assert len(rows) == 2
    both = environment("CartPole-v1", vary=("gravity 8|9.8",))
    assert set(both.tasks("train")) == set(both.tasks("test")) == {"gravity 8", "gravity 9.8"}


@pytest.mark.parametrize(
    "entry",
    ["length", "length 0.7 0.3", "length a b", "size 5..", "size 5..5", "mode 1|1", ".x 0 1", "l 0 inf", "l 1 2 3"],
)
def test_what_cannot_be_read_of_vary_is_refused(entry: str) -> None:
    with pytest.raises(ConfigError, match="'length 0.3 0.7' draws"):
        environment("CartPole-v1", vary=(entry,))


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        (("lenght 0.3 0.7",), "has no lenght .* length"),
        (("np_random 0 1",), "no number"),
        (("length 0.3 0.7", "length 1 2"), "twice"),
        ((), "nothing varies"),
        (("state.x 0 1",), "has no state.x"),
    ],
)
def test_what_cannot_be_set_is_refused(vary: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        environment("CartPole-v1", vary=vary)


def test_what_an_environment_sets_itself_is_refused() -> None:
    """MuJoCo's positions are drawn at every reset, so that a task's would be lost without a word."""
    pytest.importorskip("mujoco")
    with pytest.raises(DataError, match=r"qpos.0 was set to .* after its reset: the environment chooses it itself"):
        environment("Reacher-v5", vary=("data.qpos.0 1 2",))


def test_pictures_are_planes_and_numbers_of_many_are_ones(tmp_path: Path) -> None:
    picture = (
        ("Box(-np.inf, np.inf, (2,), np.float64)", "Box(0, 255, (4, 6, 3), np.uint8)"),
        ("return np.array([self.x, self.t])", "return np.arange(72, dtype=np.uint8).reshape(4, 6, 3)"),
    )
    env = line(tmp_path, *picture)
    assert env.observation == (3, 4, 6)
    seen = env.reset(env.task("train", keys(1)), keys(1))["seen"]
    assert torch.allclose(seen[0], torch.arange(72.0).view(4, 6, 3).permute(2, 0, 1) / 255)
    parts = (
        ("Box(-np.inf, np.inf, (2,), np.float64)", "Dict(a=Discrete(3), b=Box(-1, 1, (2, 1)))"),
        ("return np.array([self.x, self.t])", "return {'a': 2, 'b': np.array([[0.5], [0.25]])}"),
    )
    env = line(tmp_path / "parts", *parts)
    assert env.reset(env.task("train", keys(1)), keys(1))["seen"].tolist() == [[0, 0, 1, 0.5, 0.25]]


def test_actions_reach_an_environment_in_its_own_numbers(tmp_path: Path) -> None:
    told = ("self.x += self.pull * float(np.sum(action))", "self.x = float(np.sum(action))")
    env = line(tmp_path, told)
    task = env.task("train", keys(4))
    step = env.step(task, env.reset(task, keys(4)), torch.tensor([[-1.0], [0.0], [1.0], [9.0]]), keys(4))
    assert step.state["seen"][:, 0].tolist() == [-2, 1, 4, 4]
    env = line(tmp_path / "many", told, ("Box(-2.0, 4.0, (1,))", "Discrete(3, start=-1)"))
    step = env.step(task, env.reset(task, keys(4)), torch.tensor([0, 1, 2, 7]), keys(4))
    assert step.state["seen"][:, 0].tolist() == [-1, 0, 1, 1]
    with pytest.raises(DataError, match="diverged"):
        env.step(task, step.state, torch.tensor([0.0, torch.nan, 0, 0]), keys(4))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Box(-np.inf, np.inf, (2,), np.float64)", "Sequence(Discrete(3))", "no fixed number of numbers"),
        ("Box(-np.inf, np.inf, (2,), np.float64)", "Dict(a=Text(5), b=Discrete(2))", "no fixed number of numbers"),
        ("Box(-2.0, 4.0, (1,))", "MultiDiscrete([2, 3])", "expected one of many"),
        ("Box(-2.0, 4.0, (1,))", "Box(-np.inf, np.inf, (1,))", "sets no bounds"),
        ("*, seed=None, options=None):\n        super().reset(seed=seed)", "):", "cannot be seeded"),
        ("self.np_random.normal()", "np.random.default_rng().normal()", "does not do the same twice"),
        ("def make(pull=1.0):", "def make(push=1.0):", r"make\(push=1.0\) .* is given pull"),
        ("return Line(pull)", "return 3", "returned a int"),
        ("def make(", "def made(", "has no function make"),
    ],
)  # fmt: skip
def test_environments_that_cannot_be_acted_in_are_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        line(tmp_path, (old, new))


def test_a_limit_of_time_is_asked_for_where_none_is_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names no limit of time"):
        line(tmp_path, horizon=None)


def test_a_limit_of_time_that_a_file_sets_is_read(tmp_path: Path) -> None:
    limited = (
        "return Line(pull)",
        "return gymnasium.wrappers.TimeLimit(gymnasium.wrappers.TimeLimit(Line(pull), 7), 9)",
    )
    assert line(tmp_path, limited, horizon=None).horizon == 7
    with pytest.raises(DataError, match="failed in make: ZeroDivisionError"):
        line(tmp_path / "broken", ("return Line(pull)", "return Line(pull / 0)"), horizon=None)


def test_what_is_not_known_or_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="Did you mean .*CartPole-v1"):
        environment("CartPole-v11", vary=("length 1 2",))
    with pytest.raises(ConfigError, match="no file nowhere.py"):
        environment("nowhere.py", vary=("length 1 2",), horizon=3)
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(MissingExtra, match=r"quickstudy\[rl\]"):
        environment("cartpole")
