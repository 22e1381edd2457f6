"""Agents as they are used: trained, stopped and resumed, evaluated, adapted, saved, and acting."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.engine import Engine
from quickstudy.entries import READ, with_prefix
from quickstudy.episode import Episode, State, leaves, task
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.formats.steps import Steps
from quickstudy.registry import learners, models, sources, targets
from quickstudy.rl import Bandit, GridWorld, PointRobot, only
from quickstudy.rl.agents.cores import CORES
from quickstudy.rl.agents.recurrent import RecurrentPolicy
from quickstudy.rl.baselines import linear_values
from quickstudy.rl.environment import Step
from quickstudy.rl.play import Stage
from quickstudy.rl.source import EnvironmentSource
from quickstudy.spec import TaskSpec
from quickstudy.tasks.mixture import Mixture
from quickstudy.testing import check_source
from quickstudy.training.build import build

PLAIN: dict[str, Any] = {
    "ways": 1, "validate_every": 10, "validation_episodes": 20, "compile": "off", "clip": 0.5, "device": "cpu",
    "meta_batch": 16,
}  # fmt: skip


def remembers(
    tasks: str = "bandit", iterations: int = 10, queries: int = 6, memory: str = "gru", hidden: int = 0, **options: Any
) -> qs.RunConfig:
    return qs.RunConfig(
        name="agent", tasks=sources.part(tasks), model=models.part("mlp", width=8, depth=1),
        learner=learners.part("rl2", memory=memory, width=8, hidden=hidden, trace=1.0, discount=1.0),
        shots=3, queries=queries, iterations=iterations, **PLAIN | options,
    )  # fmt: skip


def guesses_rules(memory: str) -> qs.RunConfig:
    learner = learners.part("rl2", memory=memory, width=8, hidden=8, belief=0.1)
    return replace(remembers(queries=2), tasks=sources.part("arcade", horizon=6), learner=learner)


def descends(iterations: int = 4, learner: Mapping[str, Any] = {}, **options: Any) -> qs.RunConfig:
    return qs.RunConfig(
        name="agent", tasks=sources.part("point-robot", horizon=20), model=models.part("mlp", width=8),
        learner=learners.part("maml-rl", steps=2, unit=10.0, **learner), shots=3, queries=2, iterations=iterations,
        **PLAIN | {"meta_batch": 4} | options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> qs.Run:
    return qs.train(remembers(), out=tmp_path_factory.mktemp("rl") / "run", quiet=True)


# Playing


@pytest.mark.parametrize(
    "config",
    [
        *(remembers("gridworld", queries=2, memory=kind) for kind in CORES),
        remembers("gridworld", queries=2, hidden=8),
        *(guesses_rules(kind) for kind in CORES),
        descends(),
    ],
    ids=[*CORES, "hidden", *(f"{kind}, rules" for kind in CORES), "maml-rl"],
)
def test_what_is_learned_from_is_what_was_played(config: qs.RunConfig) -> None:
    """Predictions for the steps of the query set are those by which the actions were taken."""
    source = config.tasks.build().sampled(config.sampling)
    learner = config.learner.build(config.model.build(source.spec, config.learner.name != "rl2"), source.spec)
    params = learner.init(torch.Generator().manual_seed(0))
    episodes = source.under(learner, params).episodes("train", torch.arange(3))
    for index in range(3):
        one = task(episodes, index)
        said = learner.predict(params, learner.adapt(params, one.support), one.query.x)
        told = source.spec.target.outcome(one.query.y)
        chance = source.spec.target.log_prob(said, told.action)
        torch.testing.assert_close(chance[one.query.mask], told.log_prob[one.query.mask], atol=1e-4, rtol=1e-4)


def test_episodes_are_those_of_their_indices_whatever_stands_beside_them() -> None:
    config = descends()
    source = config.tasks.build().sampled(config.sampling)
    learner = config.learner.build(config.model.build(source.spec), source.spec)
    mine = source.under(learner, learner.init(torch.Generator().manual_seed(0)))
    many, one = mine.episodes("val", torch.tensor([4, 9, 2])), mine.episodes("val", torch.tensor([9]))
    done = slice(0, 5)  # what was done and paid; advantages and credits are in units of the tasks played together
    torch.testing.assert_close(many.support.y[1:2, :60, done], one.support.y[:, :60, done])  # before ψ moves
    assert not torch.equal(mine.episodes("train", torch.tensor([9])).support.y, one.support.y)


class Ends(GridWorld):
    """Ends an episode by itself where the goal is reached."""

    def step(self, task: State, state: State, action: Tensor, keys: Tensor) -> Step:
        after = super().step(task, state, action, keys)
        return after._replace(ended=after.reward > 0)


def test_an_end_is_no_time_limit_and_a_trial_stops_after_its_episodes() -> None:
    """Rightwards on a row of 3: the goal next to the start ends episodes at once, the one that is never reached runs
    against the time limit of 4 steps, whose value counts what would have followed."""
    environment = Ends(size=3, horizon=4)
    spec = EnvironmentSource.of(environment, past=False).spec
    state = {"goal": torch.tensor([1, 8])}
    stage = Stage(environment, state, torch.arange(2), spec)

    def right(memory: State, x: Any, first: Tensor) -> tuple[State, Tensor]:
        said = torch.full((len(first), 6), -50.0)
        said[:, 4], said[:, 5] = 50.0, 7.0
        return memory, said

    played = stage.play(right, {}, 2)
    assert played.mask.sum(1).tolist() == [2, 8] and played.mask.shape == (2, 8)
    assert stage.lanes(1).play(right, {}, 2).mask.shape == (2, 8)
    assert played.ended[0, :2].all() and not played.timed[0, :2].any()
    assert played.timed[1].nonzero().flatten().tolist() == [3, 7] and not played.ended[1].any()
    assert played.after[1].tolist() == [0, 0, 0, 7, 0, 0, 0, 7] and not played.after[0, :2].any()
    assert played.episode[1].tolist() == [0] * 4 + [1] * 4


def test_rewards_that_are_no_numbers_are_refused() -> None:
    class Broken(Bandit):
        def step(self, task: State, state: State, action: Tensor, keys: Tensor) -> Step:
            return super().step(task, state, action, keys)._replace(reward=torch.full((len(keys),), torch.nan))

    source = EnvironmentSource.of(Broken(), past=True).sampled(qs.Sampling(1, 1, 2))
    with pytest.raises(DataError, match=r"Broken gave a reward .* in step 1"):
        source.episodes("train", torch.arange(2))


# Training


@pytest.mark.parametrize(
    "config",
    [remembers(reuse=2, parts=2, validate_every=5), descends(reuse=2, validate_every=2)],
    ids=["rl2", "maml-rl"],
)
def test_resuming_is_the_same_as_never_having_stopped(config: qs.RunConfig, tmp_path: Path) -> None:
    whole = qs.train(config, out=tmp_path / "whole", quiet=True)
    half = replace(config, iterations=config.iterations // 2)
    qs.train(half, out=tmp_path / "half", quiet=True)
    again = qs.resume(tmp_path / "half", iterations=config.iterations, quiet=True)
    for name, value in whole.params.items():
        assert torch.equal(value, again.params[name]), name


def test_an_agent_learns_which_arm_pays(tmp_path: Path) -> None:
    """Two arms that pay nearly the same each time: after some pulls the better one is known, by memory alone."""
    config = remembers(iterations=60, lr=0.01, reuse=3, parts=2, meta_batch=256, clip=0.0, validate_every=60)
    config = replace(config, tasks=sources.part("bandit", arms=2, pays="gaussian", noise=0.1))
    result = qs.train(config, out=tmp_path / "run", quiet=True).evaluate(episodes=1000)
    first, last = (result.further[f"return in episode {i}"] for i in (1, 6))
    assert abs(first.mean) < 0.15  # means of arms are 0 before anything is known
    assert last.mean > 0.25  # of two, the better one's is 0.56 on average
    for name in ("its memory wiped", "acting at random"):
        other = result.references[name]["return in episode 6"]
        assert last.mean - last.ci95 > other.mean + other.ci95


def test_the_second_order_reaches_what_acted_before(tmp_path: Path) -> None:
    """The meta-gradient through the inner steps is not the one that takes them for constants."""
    config = descends()
    source = config.tasks.build().sampled(config.sampling)
    learner = config.learner.build(config.model.build(source.spec), source.spec)
    params = learner.init(torch.Generator().manual_seed(0))
    episodes = source.under(learner, params).episodes("train", torch.arange(4))
    cpu = torch.device("cpu")
    exact = Engine(learner, cpu).gradients(params, episodes)[0]
    looped = Engine(learner, cpu, vectorize="loop").gradients(params, episodes)[0]
    first = Engine(learner, cpu, metagrad="first_order").gradients(params, episodes)[0]
    for name, value in exact.items():
        torch.testing.assert_close(value, looped[name], atol=1e-5, rtol=1e-3)
    assert any(not torch.allclose(value, first[name], rtol=1e-2) for name, value in exact.items())


# Using


def test_an_adapted_agent_acts_and_is_saved(run: qs.Run, tmp_path: Path) -> None:
    model = run.adapt(only(Bandit(arms=5), arms=[0.0, 0, 1, 0, 0]))
    assert model.provenance["support"] == 3
    paid = (0.0, 1.0, 0.0, 1.0)
    done = [model.act([1.0], reward) for reward in paid]
    with pytest.raises(DataError, match="learns from rewards"):
        model.act([1.0])
    assert all(action in range(5) for action in done)
    other = qs.Model.load(model.save(tmp_path / "model"))
    assert [other.act([1.0], reward) for reward in paid] == done
    assert [model.actor().act([1.0]), other.actor().act([1.0])] == [done[0]] * 2  # each with a memory of its own


@pytest.mark.parametrize(("kind", "hidden"), [*((kind, 0) for kind in CORES), ("gru", 8)])
def test_an_agent_goes_on_from_what_it_remembers(kind: str, hidden: int, tmp_path: Path) -> None:
    """The same is said of the last three of six steps by who has lived through all, by who was adapted to the first
    three, all at once or one by one, and by who was stored then. Where an episode begins, a wiped memory is empty."""
    run = qs.train(remembers(iterations=1, memory=kind, hidden=hidden), out=tmp_path / "run", quiet=True)
    agent: Any = run.learner
    params, cpu = run.params, torch.device("cpu")
    lived = agent.met(params, Bandit(arms=5), 6, seed=0)
    fresh, state = (agent.adapt(params, lived._replace(mask=torch.arange(6) < count)) for count in (0, 3))
    whole = agent.predict(params, fresh, lived.x)
    torch.testing.assert_close(agent.predict(params, state, lived.x[3:]), whole[3:])
    memory = agent.memory(state, 1, cpu)
    for t in range(3, 6):
        memory, said = agent.act(params, state, memory, lived.x[t : t + 1], torch.tensor([False]))
        torch.testing.assert_close(said[0], whole[t])

    model = qs.Model(run.config, agent, params, state)
    stored = qs.Model.load(model.save(tmp_path / "model"), device="cpu")
    assert stored.state.keys() == state.keys() == {f"state.{name}" for name in memory} | {"done", "paid"}
    assert all(torch.equal(value, stored.state[name]) for name, value in state.items())
    torch.testing.assert_close(stored(lived.x[3:]), whole[3:])
    done = [[one.act([1.0], paid) for paid in (0.0, 1.0, 0.0)] for one in (model, stored)]
    assert done[0] == done[1]

    begins = torch.tensor([True, False])
    after, said = agent.blank().act(params, {}, agent.memory(state, 2, cpu), lived.x[3:5], begins)
    for lane, known in enumerate(({}, state)):
        one = slice(lane, lane + 1)
        alone = agent.act(params, {}, agent.memory(known, 1, cpu), lived.x[3 + lane : 4 + lane], begins[one])
        torch.testing.assert_close(({name: value[one] for name, value in after.items()}, said[one]), alone)


@pytest.mark.parametrize("first", [0, 2])
def test_who_remembers_nothing_is_told_nothing_of_the_episode_before(first: int) -> None:
    """A policy that does the next of what it is told it did last, and `first` where it is told of nothing."""
    source = sources.make("gridworld", past=True).sampled(qs.Sampling(1, 1, 2))
    target, seen = source.spec.target, source.environment.observation[0]
    learner: Any = learners["maml-rl"](torch.nn.Linear(source.spec.input_shape[0], source.spec.outputs), source.spec)
    params = {name: torch.zeros_like(v) for name, v in learner.init(torch.Generator().manual_seed(0)).items()}
    params["network.bias"][first] = 1.0
    for action in range(target.count):
        params["network.weight"][(action + 1) % target.count, seen + action] = 9.0
    query = task(source.under(learner, params).episodes("train", torch.arange(1)), 0).query
    begins = query.x[:, -1] == 1
    assert int(begins.sum()) == 2 and not query.x[begins, seen:-1].any()  # so it learns
    actor = learner.acting(params, {"count": torch.tensor(0)}, greedy=True)
    done = [actor.act([0.0, 0.0], 1.0, first=t % 3 == 0) for t in range(9)]
    assert done == [first, (first + 1) % target.count, (first + 2) % target.count] * 3


def test_an_agent_of_numbers_acts_within_its_bounds(tmp_path: Path) -> None:
    run = qs.train(descends(iterations=1), out=tmp_path / "run", quiet=True)
    action = run.adapt(only(PointRobot(horizon=20), goal=[9.0, 9.0])).act([0.0, 0.0])
    assert len(action) == 2 and all(-1 <= number <= 1 for number in action)


def test_what_agents_cannot_take_is_refused(run: qs.Run) -> None:
    with pytest.raises(ConfigError, match=r"sees \(1,\) and does 5 actions, but this environment"):
        run.adapt(PointRobot())
    with pytest.raises(ConfigError, match="adapted to an environment"):
        run.adapt(torch.zeros(3, 1), ["a", "b", "a"])
    with pytest.raises(ConfigError, match="arms"):
        only(Bandit(), arm=[1.0])
    model = run.adapt(Bandit())
    with pytest.raises(ConfigError, match="An agent learns from what it does"):
        model.more([[1.0]], ["a"])
    with pytest.raises(ShapeError, match=r"sees \(1,\) at each step"):
        model.act([1.0, 2.0])
    with pytest.raises(DataError, match="reward"):
        model.act([1.0], reward=float("nan"))
    config = remembers()
    with pytest.raises(ConfigError, match="does not act"):
        qs.train(replace(config, learner=learners.part("maml")), quiet=True)
    with pytest.raises(ConfigError, match="same number of episodes"):
        qs.train(replace(config, min_shots=1), quiet=True)
    with pytest.raises(ConfigError, match="found hidden=-1"):
        qs.train(remembers(hidden=-1), quiet=True)
    with pytest.raises(ConfigError, match="acts in environments"):
        learners["rl2"](torch.nn.Linear(1, 2), sources.make("sinusoid").spec)


def test_the_command_shows_who_else_was_there(run: qs.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run.folder), "--episodes", "20"]) == 0
    told = capsys.readouterr().out
    for row in (
        "trained",
        "its memory wiped",
        "acting at random",
        "the best that forgets each episode",
        "the best there is",
    ):
        assert row in told
    assert "episode 6" in told and "computed" in told


@dataclass(frozen=True, kw_only=True)
class Unknown(Bandit):
    """Of which the optimum is not known."""

    arms: int = 40


def test_no_optimum_is_told_where_none_is_known() -> None:
    found = EnvironmentSource.of(Unknown(), past=True).sampled(qs.Sampling(1, 1, 30)).computed()
    assert found == {"the best that forgets each episode": pytest.approx(0.5)}


@pytest.mark.parametrize("tasks", ["bandit", "gridworld", "tabular-mdp", "point-robot", "highway", "arcade"])
def test_environments_keep_the_contract_of_a_source(tasks: str) -> None:
    options = {} if tasks == "bandit" else {"horizon": 5}
    check_source(sources.make(tasks, **options).sampled(qs.Sampling(1, 2, 2)))


def test_rewards_are_told_in_units() -> None:
    plain, told = (Steps(observation=(2,), past=3, unit=unit) for unit in (1.0, 0.05))
    given = torch.ones(4, 2), torch.ones(4, 3), torch.arange(4.0), torch.zeros(4)
    assert torch.equal(told.seen(*given)[:, 5], plain.seen(*given)[:, 5] / 0.05)
    assert torch.equal(told.seen(*given)[:, :5], plain.seen(*given)[:, :5])
    with pytest.raises(ConfigError, match="positive"):
        Steps(observation=(2,), unit=0.0)


def test_values_are_told_in_units() -> None:
    """With a unit of 10 and a tenth of the value, what is learned from is the same."""
    source = sources.make("gridworld").sampled(qs.Sampling(1, 1, 2))
    parts = []
    for unit in (1.0, 10.0):
        learner = learners["rl2"](torch.nn.Linear(source.spec.input_shape[0], 8), source.spec, unit=unit)
        params = learner.init(torch.Generator().manual_seed(0))
        for name in ("network.head.weight", "network.head.bias"):
            params[name] = torch.cat([params[name][:-1], params[name][-1:] / unit])
        parts.append(
            source.spec.target.outcome(source.under(learner, params).episodes("train", torch.arange(4)).query.y)
        )
    torch.testing.assert_close(parts[0].advantage, parts[1].advantage, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(parts[0].value, 10 * parts[1].value, atol=1e-4, rtol=1e-4)


def test_an_agent_is_adapted_to_an_environment_of_gymnasium_by_its_id(tmp_path: Path) -> None:
    gymnasium = pytest.importorskip("gymnasium")
    config = replace(
        remembers(iterations=1), tasks=sources.part("gym", id="cartpole", horizon=20, past=True, workers=0)
    )
    run = qs.train(config, out=tmp_path / "run", quiet=True)
    place = ["--environment", "CartPole-v1", "--episodes", "2", "--out", str(tmp_path / "model")]
    assert main(["adapt", str(run.folder), *place]) == 0
    model, world = qs.Model.load(tmp_path / "model"), gymnasium.make("CartPole-v1")
    seen, reward, steps = world.reset(seed=0)[0], 0.0, 0
    for _ in range(10):
        seen, reward, ended, _, _ = world.step(model.act(seen, reward, first=not steps))
        steps += 1
        if ended:
            break
    assert steps > 3
    with pytest.raises(ConfigError, match="sees"):
        run.adapt("Pendulum-v1")
    with pytest.raises(ConfigError, match="Episodes are of environments"):
        qs.train(replace(qs.recipes.sinusoid_maml(), iterations=0), out=tmp_path / "s", quiet=True).adapt(
            torch.zeros(3, 1), torch.zeros(3, 1), episodes=3
        )


@pytest.mark.parametrize("config", [remembers("gridworld", queries=2), descends()], ids=["rl2", "maml-rl"])
def test_training_keeps_the_order_of_steps(config: qs.RunConfig) -> None:
    """What a run trains and is evaluated on are the source's own episodes: shuffled steps teach a memory nothing."""
    parts = build(config)
    learner, params = parts.engine.learner, parts.engine.learner.init(torch.Generator().manual_seed(0))
    for source, sampling in ((parts.training, config.train_sampling), (parts.source, config.sampling)):
        own = config.tasks.build().seeded(config.seed).sampled(sampling).under(learner, params)
        seen = source.under(learner, params).episodes("train", torch.arange(2))
        for ours, theirs in zip(leaves(own.episodes("train", torch.arange(2))), leaves(seen), strict=True):
            assert torch.equal(ours, theirs)


def test_what_the_last_step_brought_is_not_forgotten(run: qs.Run) -> None:
    """A single pull that paid, and one that did not, make two agents."""
    states = [run.adapt(only(Bandit(arms=5), arms=[chance] * 5), episodes=1).state for chance in (0.0, 1.0)]
    assert torch.equal(states[0]["state.h"], states[1]["state.h"])  # the memory is told at the step that follows
    assert [float(state["paid"]) for state in states] == [0.0, 1.0]
    assert states[0]["done"].sum() == 1


def test_what_an_estimator_would_leave_out_is_refused() -> None:
    config = descends(learner={"explore": 1.0})
    with pytest.raises(ConfigError, match="would leave the rest out"):
        qs.train(replace(config, metagrad="first_order"), quiet=True)


def test_layers_that_make_another_policy_are_refused() -> None:
    source = sources.make("arcade").sampled(qs.Sampling(1, 1, 1))
    with pytest.raises(ConfigError, match="BatchNorm"):
        learners["rl2"](
            torch.nn.Sequential(torch.nn.BatchNorm2d(source.spec.input_shape[0]), torch.nn.Flatten()), source.spec
        )
    with pytest.raises(ConfigError, match="past=True"):
        learners["rl2"](torch.nn.Flatten(), sources.make("point-robot").spec)


def test_anything_is_done_with_equal_chance() -> None:
    target = targets.make("actions", size=2, low=0.0, high=4.0)
    drawn = target.anything(torch.arange(4000))
    assert 0 <= float(drawn.min()) < 0.1 and 3.9 < float(drawn.max()) < 4 and abs(float(drawn.mean()) - 2) < 0.1


def test_few_steps_are_not_explained_away() -> None:
    """With more numbers in what is seen than steps, values that fit each return would leave no advantage."""
    returns = torch.randn(1, 2, 6, generator=torch.Generator().manual_seed(0))
    values = linear_values(torch.randn(1, 2, 6, 40), returns, torch.ones(1, 2, 6, dtype=torch.bool))
    assert float((returns - values).std()) > 0.3 * float(returns.std())


def test_the_best_there_is_begins_with_nothing_known() -> None:
    """Who has been through other episodes before those that count can be better than it."""
    source = sources.make("bandit", arms=2).sampled(qs.Sampling(1, 3, 4))
    knows = learners["maml-rl"](torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(5, 3)), source.spec)
    begins = learners["rl2"](torch.nn.Flatten(), source.spec)
    assert source.under(knows, {}).computed() == {"the best that forgets each episode": pytest.approx(0.5)}
    assert source.under(begins, {}).computed()["the best there is"] == pytest.approx(source.environment.optimum(4))


def test_a_learner_that_cannot_act_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not act"):
        qs.train(replace(remembers(), learner=learners.part("maml")), out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_numbers_that_are_none_are_refused(run: qs.Run) -> None:
    with pytest.raises(ShapeError, match="of the shape"):
        only(Bandit(arms=5), arms=[0.1, 0.2])
    model = run.adapt(Bandit(arms=5))
    with pytest.raises(DataError, match="An observation is numbers"):
        model.act("a")
    with pytest.raises(DataError, match="reward"):
        model.act([1.0], "x")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["ppo", "maml-rl"])
def test_processes_that_share_a_mixture_of_families_tell_it_in_the_same_units(name: str) -> None:
    """The second of two has no task of the second family; both, and one alone, learn from the same."""
    families = [EnvironmentSource.of(Bandit(arms=3, pays=pays), True) for pays in ("bernoulli", "gaussian")]
    mixed: Any = Mixture(first=families[0], second=families[1], share=0.3).sampled(qs.Sampling(1, 2, 3))
    indices, keys = torch.arange(8) + 8, torch.arange(8)
    assert mixed.arms_of("train", indices).flatten().tolist() == [0, 1, 0, 1, 0, 0, 0, 0]
    learner = learners[name](torch.nn.Linear(mixed.spec.input_shape[0], mixed.spec.outputs), mixed.spec)
    params = learner.init(torch.Generator().manual_seed(0))
    engine = Engine(learner, torch.device("cpu"))
    whole = engine.collected(mixed, params, "train", indices, keys)
    told, mask = mixed.spec.target.outcome(whole.query.y), whole.query.mask
    assert float(told.advantage[mask].mean()) == pytest.approx(0, abs=1e-5)
    assert float(told.advantage[mask].std(correction=0)) == pytest.approx(1, abs=1e-5)

    meet, offered = threading.Barrier(2, timeout=20), {}

    def share(rank: int) -> Episode:
        class Both:
            def together(self, where: str) -> Any:
                return nullcontext()

            def sum(self, own: Tensor, where: str) -> Tensor:
                offered[rank] = own
                meet.wait()
                total = offered[0] + offered[1]
                meet.wait()
                return total

        mine = indices.tensor_split(2)[rank]
        return engine.collected(mixed, params, "train", mine, mine, Both())  # type: ignore[arg-type]

    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(share, range(2)))
    for one, *both in zip(leaves(whole), *map(leaves, parts), strict=True):
        torch.testing.assert_close(torch.cat(both), one, atol=1e-4, rtol=1e-4)


def test_a_perceptron_reads_planes_of_one_number_once_and_where_the_middle_of_others_is() -> None:
    """Beside planes of pixels the past is planes of one number each. A hundred copies of it would learn a hundred times
    as fast as a pixel; convolutions see all planes alike."""
    steps = Steps(observation=(2, 3, 4), past=5)
    seen, action = torch.rand(6, 2, 3, 4), torch.rand(6, 5)
    seen[0, 0], seen[1, 1] = 0, 0
    seen[1, 1, 2, 1] = 1
    x = steps.seen(seen, action, torch.rand(6), torch.ones(6, dtype=torch.bool))
    assert x.shape == (6, 2 + 5 + 2, 3, 4)
    flat = steps.flat()(x)
    cells, middles, past, products = flat.split([2 * 3 * 4, 4, 7, 7 * 4], 1)
    assert torch.equal(cells, seen.flatten(1)) and torch.equal(past, x[:, 2:, 0, 0])
    assert torch.equal(products, (past[:, :, None] * middles[:, None]).flatten(1))
    assert middles[0, [0, 2]].tolist() == [0, 0], "nothing is seen"
    assert middles[1, [1, 3]].tolist() == [3, -1], "one cell in the last row and the second column of four"
    total = seen.sum((2, 3))
    rows = (seen * torch.tensor([-3.0, 0, 3])[:, None]).sum((2, 3)) / total.clamp(min=1)
    columns = (seen * torch.tensor([-3.0, -1, 1, 3])).sum((2, 3)) / total.clamp(min=1)
    torch.testing.assert_close(middles, torch.cat([rows, columns], 1))
    spec = TaskSpec(steps, targets.make("actions", count=5))
    assert models["mlp"](spec, width=7).linear1.in_features == 2 * 3 * 4 + 2 * 2 + 7 + 7 * 4
    alone = Steps(observation=(2, 3, 4))
    assert torch.equal(alone.flat()(seen), flat[:, :28])
    moved = torch.zeros(1, 2, 3, 4)
    moved[0, 0, 1, 3], moved[0, 0, 1, 2] = 1, -1
    assert alone.flat()(moved)[0, 24:].tolist() == [0, 0, 1, 0], "of what has changed, half of how far it moved"
    assert Steps(observation=(1, 1, 2)).flat()(torch.tensor([[[[0.0, 9.0]]]])).tolist() == [[0, 9, 0, 3]], "one row"


@dataclass(frozen=True, kw_only=True)
class TellingBandit(Bandit):
    """It tells training which of two arms pays more often."""

    @property
    def actions(self) -> Any:
        return targets.make("actions", count=self.arms, rules=1)

    def rules(self, task: State) -> Tensor:
        return (task["arms"][:, :1] > task["arms"][:, 1:2]).float() * 2 - 1


def test_rules_that_training_is_told_are_guessed_beside_what_is_done(tmp_path: Path) -> None:
    """The further loss is half the squared error of the guess, and trains the memory alone; who is told the rewards
    finds out; and nothing that is done or stored tells of it."""
    source: Any = EnvironmentSource.of(TellingBandit(arms=2), past=True)
    learner = learners.part("rl2", width=8, hidden=8, belief=0.5, entropy=0.3)  # it goes on trying
    config = replace(remembers(iterations=80, queries=12), learner=learner, meta_batch=128, lr=0.02, reuse=2)
    run = qs.train(config, source=source, out=tmp_path / "run", quiet=True)
    agent: Any = run.learner
    stage = run.parts.source.stage("test", torch.arange(200))
    query = agent.collected(run.params, stage, run.config.sampling).query
    first = task(Episode(query, query), 0).query
    told = agent.actions.outcome(first.y)
    assert torch.equal(told.rules, stage.environment.rules(stage.task)[:1].expand(12, 1))
    fresh = agent.adapt(run.params, first._replace(mask=torch.zeros_like(first.mask)))
    without, guesses = replace(agent, belief=0.0), agent._told(run.params, fresh, first.x)
    further = agent.judge(run.params, fresh, first)[0] - without.judge(run.params, fresh, first)[0]
    miss = 0.5 * (guesses[:, agent.spec.outputs :] - told.rules).square().sum(1)
    torch.testing.assert_close(further, 0.5 * (miss * first.mask).sum() / len(first.mask))
    memory = ("encoder", "core", "guess")
    one, other = ({name: v.detach().requires_grad_() for name, v in run.params.items()} for _ in range(2))
    without.judge(one, fresh, first)[0].backward()
    (agent.judge(other, fresh, first)[0] - without.judge(other, fresh, first)[0]).backward()
    reached = [
        {n for n, v in leaf.items() if v.grad is not None and v.grad.abs().max() > 1e-9} for leaf in (one, other)
    ]
    assert reached[0] and not any(part in name for name in reached[0] for part in memory)
    assert reached[1] and all(any(part in name for part in memory) for name in reached[1])
    last = [
        (agent._told(run.params, fresh, x)[-1, -1], rules)
        for x, rules in zip(query.x, agent.actions.outcome(query.y).rules[:, 0, 0], strict=True)
    ]
    right = sum(float(guess * rule > 0) for guess, rule in last) / len(last)
    assert right > 0.58, f"{right:.0%} of the guesses after 12 pulls are right"
    place = only(TellingBandit(arms=2), arms=[0.1, 0.9])
    assert not agent.actions.outcome(agent.met(run.params, place, 3, seed=0).y).rules.any(), "in use nothing is told"
    model = run.adapt(place, episodes=3)
    assert model.save(tmp_path / "model") and qs.Model.load(tmp_path / "model").act([1.0]) in (0, 1)


@pytest.mark.parametrize(
    "rules",
    [
        lambda task: torch.ones(len(task["arms"])),
        lambda task: torch.full((len(task["arms"]), 1), torch.nan),
        lambda _: 1,
    ],
)
def test_rules_that_are_told_amiss_are_refused(rules: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TellingBandit, "rules", lambda self, task: rules(task))
    config = replace(remembers(), learner=learners.part("rl2", hidden=8, belief=0.1))
    source: Any = EnvironmentSource.of(TellingBandit(arms=2), past=True)
    with pytest.raises(ShapeError, match=r"rules must give finite .* \(16, 1\)"):
        qs.train(config, source=source, out=tmp_path / "run", quiet=True)


def test_rules_that_nobody_tells_cannot_be_guessed(tmp_path: Path) -> None:
    config = replace(remembers(), learner=learners.part("rl2", belief=0.1))
    with pytest.raises(ConfigError, match="belief=0.1 .* these environments tell none"):
        qs.train(config, out=tmp_path / "run", quiet=True)
    telling: Any = EnvironmentSource.of(TellingBandit(arms=2), past=True)
    with pytest.raises(ConfigError, match="hidden=0 makes none"):
        qs.train(config, source=telling, out=tmp_path / "run", quiet=True)


@pytest.mark.parametrize("hidden", [0, 8])
def test_a_layer_that_reads_memory_and_step_says_another_thing_of_another_step(hidden: int) -> None:
    """Where the memory is always the same, only what is in view can make a difference."""
    policy = RecurrentPolicy(torch.nn.Linear(3, 4), CORES["gru"](8, 5), 2, hidden)
    for parameter in policy.core.parameters():
        torch.nn.init.zeros_(parameter)
    memory = with_prefix(READ, {name: torch.zeros(2, *shape) for name, shape in policy.shapes.items()})
    (one, other), _ = policy({"x": torch.eye(3)[:2]} | memory)
    assert torch.equal(one, other) == (hidden == 0)
