"""What users get wrong with environments of their own: each is refused, in words that help."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy import rng
from quickstudy.averaging.runs import average_runs
from quickstudy.cli import main
from quickstudy.episode import State
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.memory.runs import as_memory
from quickstudy.registry import learners, models, sources, targets
from quickstudy.rl import Bandit, Environment, EnvironmentSource, GridWorld, Highway, Step, TabularMDP, only


@dataclass(frozen=True, kw_only=True)
class Drift(Environment):
    """Right as it stands; `wrong` names one thing that is not."""

    horizon: int = 3
    wrong: str = ""

    @property
    def actions(self) -> Any:
        return targets.make("actions", size=1)

    @property
    def observation(self) -> tuple[int, ...]:
        return (2,)

    def task(self, split: str, keys: Tensor) -> State:
        return {"wind": torch.zeros(()) if self.wrong == "task" else rng.uniform(keys)}

    def reset(self, task: State, keys: Tensor) -> State:
        if self.wrong == "reset":
            return torch.zeros(len(keys), 2)  # type: ignore[return-value]
        if self.wrong == "lanes":
            return {"place": torch.zeros(2)}
        return {"place": torch.zeros(len(keys), 2)}

    def observe(self, task: State, state: State) -> Tensor:
        place = state["place"]
        told = {"observe": place[:, :1], "dtype": place.long(), "nan": place / 0}
        return told.get(self.wrong, place)

    def step(self, task: State, state: State, action: Tensor, keys: Tensor) -> Step:
        if self.wrong == "raises":
            raise KeyError("wind speed")
        place = state["place"] + action
        ended = torch.zeros(len(keys), dtype=torch.bool)
        after: dict[str, Any] = {"place": place.double() if self.wrong == "state" else place}
        reward = place[:, :1] if self.wrong == "reward" else place[:, 0]
        if self.wrong == "tuple":
            return after, reward, ended  # type: ignore[return-value]
        return Step(after, reward, ended.float() if self.wrong == "ended" else ended)


MISTAKES = {
    "task": r"Drift\.task gave 'wind' of the shape \(\) for 4 lanes",
    "reset": r"Drift\.reset must give tensors by their names.* found Tensor",
    "lanes": r"Drift\.reset gave 'place' of the shape \(2,\) for 4 lanes",
    "observe": r"Drift\.observe must give .*\(4, 2\).* found \(4, 1\)",
    "dtype": r"Drift\.observe must give floating point .* found \(4, 2\) of torch\.int64",
    "state": r"must keep the state as reset makes it, .*float32.* found .*float64",
    "reward": r"`reward` as floating point of the shape \(4,\).* found \(4, 1\)",
    "ended": r"`ended` as bool of the shape \(4,\).* found \(4,\) of torch\.float32",
    "tuple": r"must give Step\(state, reward, ended\), found tuple",
}


def played(environment: Environment) -> Any:
    source = EnvironmentSource.of(environment, past=True).sampled(qs.Sampling(1, 1, 2))
    return source.episodes("train", torch.arange(4))


def test_an_environment_that_keeps_its_contract_is_played() -> None:
    assert played(Drift()).query.mask.all()


@pytest.mark.parametrize("wrong", MISTAKES)
def test_shapes_and_types_that_are_not_the_contracts_are_named(wrong: str) -> None:
    with pytest.raises(ShapeError, match=MISTAKES[wrong]):
        played(Drift(wrong=wrong))


def test_what_an_environment_raises_says_where(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Drift failed in step: KeyError: 'wind speed' .*test_mistakes\.py, line \d+"):
        played(Drift(wrong="raises"))
    with pytest.raises(DataError, match="Drift shows NaN"):
        played(Drift(wrong="nan"))


def test_what_a_simulator_raises_says_where(tmp_path: Path) -> None:
    pytest.importorskip("gymnasium")
    text = (
        "import gymnasium\n\n\nclass Breaks(gymnasium.Wrapper):\n    def step(self, action):\n"
        "        raise OSError('no valve')\n\n\ndef make(length):\n    return Breaks(gymnasium.make('CartPole-v1'))\n"
    )
    (tmp_path / "breaks.py").write_text(text)
    with pytest.raises(DataError, match=r"breaks\.py failed in its first steps: OSError: no valve .*line 6"):
        sources.make("gym", id=str(tmp_path / "breaks.py"), vary=("length 0.3 0.7",), horizon=3)


@pytest.mark.parametrize(
    ("environment", "given", "why"),
    [
        (Bandit(arms=2), {"arms": [0.5, 1.5]}, "from 0 to 1"),
        (Bandit(arms=2, pays="gaussian"), {"arms": [0.5, float("nan")]}, "finite"),
        (GridWorld(size=3), {"goal": 9}, "from 1 to 8"),
        (GridWorld(size=3), {"goal": 0}, "from 1 to 8"),
        (TabularMDP(states=2, choices=2), {"chances": [[[2.0, -1], [0, 1]], [[1, 0], [1, 0]]]}, "from 0 to 1"),
        (Highway(), {"lanes": 7}, "from 2 to 4"),
    ],
)
def test_a_task_that_cannot_be_is_refused(environment: Environment, given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=f"of a task is finite numbers.*{why}" if "from" in why else why):
        only(environment, **given)


def test_numbers_within_the_limits_are_taken() -> None:
    assert only(Bandit(arms=2, pays="gaussian"), arms=[-3.0, 4.0]).given["arms"].tolist() == [-3, 4]
    assert only(GridWorld(size=3), goal=8).given["goal"].item() == 8
    with pytest.raises(ConfigError, match="from 1 to 8"):
        only(only(GridWorld(size=3)), goal=9)


def test_ways_are_none_of_an_environments() -> None:
    with pytest.raises(ConfigError, match=r"no classes to count, found ways=3\. Leave ways out"):
        sources.make("bandit").sampled(qs.Sampling(3, 1, 2))


def test_what_agents_have_not_done_is_not_taken_for_theirs(tmp_path: Path) -> None:
    """They neither act in one precision and learn in another, nor remember tasks by what chance has done in them."""
    config = replace(
        qs.recipes.rl_point_maml(), iterations=2, meta_batch=2, shots=2, queries=2, validation_episodes=4, device="cpu"
    )
    with pytest.raises(ConfigError, match="acts in float32"):
        qs.train(replace(config, precision="bfloat16"), out=tmp_path / "low", quiet=True)
    with pytest.raises(ConfigError, match="on data that is given"):
        as_memory(config)


def test_an_average_of_agents_is_judged_by_what_it_brings(tmp_path: Path) -> None:
    config = replace(qs.recipes.rl_bandit(), iterations=2, meta_batch=8, parts=1, validation_episodes=64, device="cpu")
    runs = [qs.train(replace(config, iterations=count), out=tmp_path / str(count), quiet=True) for count in (2, 3)]
    averaged = average_runs(runs, tmp_path / "soup")
    assert averaged.interpolation is not None
    ends = averaged.interpolation.losses[0], averaged.interpolation.losses[-1]
    assert sorted(ends) == pytest.approx(sorted(-score for score in averaged.scores.values()), abs=1e-5)


def test_parts_that_nothing_has_registered_say_how_to_import(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "rl-bandit", "--tasks", "thermostat"]) == 2
    assert "--import FILE.py" in " ".join(capsys.readouterr().err.split())


@pytest.fixture(scope="module")
def poles(tmp_path_factory: pytest.TempPathFactory) -> qs.Run:
    pytest.importorskip("gymnasium")
    config = qs.RunConfig(
        name="poles", tasks=sources.part("gym", id="cartpole", horizon=20, workers=0),
        model=models.part("mlp", width=4), learner=learners.part("ppo"), ways=1, shots=1, queries=1, iterations=1,
        meta_batch=2, validate_every=1, validation_episodes=2, compile="off", device="cpu",
    )  # fmt: skip
    return qs.train(config, out=tmp_path_factory.mktemp("rl") / "run", quiet=True)


def test_the_environment_of_an_adaptation_has_the_options_of_a_source(
    poles: qs.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["adapt", str(poles.folder), "--environment", "cartpole"]
    numbers = ["--environment.vary", "length 0.4", "gravity 9.0", "--environment.horizon", "7", "--episodes", "2"]
    assert main([*place, *numbers, "--out", str(tmp_path / "model")]) == 0
    assert int(qs.Model.load(tmp_path / "model").provenance["support"]) <= 14
    capsys.readouterr()
    assert main([*place, "--environment.vary", "length 0.4 0.6", "--out", str(tmp_path / "other")]) == 2
    assert "length varies" in " ".join(capsys.readouterr().err.split())
    part = sources.part("gym", id="cartpole", vary=("length 0.4",), alone=True, horizon=5)
    assert int(poles.adapt(part, episodes=1).provenance["support"]) <= 5
    assert part.build().stage("test", torch.arange(2)).task["numbers"].tolist() == [[pytest.approx(0.4)]] * 2
    assert int(poles.adapt(part.build(), episodes=1).provenance["support"]) <= 5


def test_one_number_of_a_family_varies_nothing() -> None:
    pytest.importorskip("gymnasium")
    with pytest.raises(ConfigError, match="All tasks would be the same"):
        sources.make("gym", id="cartpole", vary=("length 0.4",))
    fixed = sources.make("gym", id="cartpole", vary=("length 0.4", "gravity 8 12"), workers=0)
    numbers = fixed.stage("train", torch.arange(3)).task["numbers"]
    assert numbers[:, 0].tolist() == [pytest.approx(0.4)] * 3 and len(numbers[:, 1].unique()) == 3


def test_levels_of_splits_are_disjoint() -> None:
    pytest.importorskip("minigrid")
    source = sources.make("gym", id="minigrid", workers=0)
    seeds = {split: source.stage(split, torch.arange(3000)).task["seed"] for split in ("train", "val", "test")}
    assert [int(seed.remainder(3).unique()) for seed in seeds.values()] == [0, 1, 2]  # no two can be the same
    assert all(int(seed.min()) >= 0 and int(seed.max()) < 2**31 for seed in seeds.values())
    assert all(len(seed.unique()) > 2990 for seed in seeds.values())


def test_numbers_are_brought_to_the_bounds_of_an_action_space(tmp_path: Path) -> None:
    gymnasium = pytest.importorskip("gymnasium")
    config = qs.RunConfig(
        name="points", tasks=sources.part("point-robot", horizon=4), model=models.part("mlp", width=4),
        learner=learners.part("ppo"), ways=1, shots=1, queries=1, iterations=1, meta_batch=2, validate_every=1,
        validation_episodes=2, compile="off", device="cpu",
    )  # fmt: skip
    model = qs.train(config, out=tmp_path / "run", quiet=True).adapt("point-robot")
    space = gymnasium.spaces.Box(np.array([0.0, -3.0]), np.array([10.0, 1.0]), dtype=np.float64)
    for seed in range(4):
        own = np.array(model.actor(seed=seed).act([0.0, 0.0]))
        there = model.actor(seed=seed, space=space).act([0.0, 0.0])
        assert there in space and there == pytest.approx(space.low + (space.high - space.low) * (own + 1) / 2, abs=1e-6)
    with pytest.raises(ConfigError, match=r"does actions of 2 numbers, and the environment takes Discrete"):
        model.actor(space=gymnasium.spaces.Discrete(3))
    with pytest.raises(ConfigError, match="no bounds"):
        model.actor(space=replace_bounds(space))


def replace_bounds(space: Any) -> Any:
    return type(space)(-np.inf, np.inf, space.shape, np.float64)
