"""The highway: drivers by closed forms and by a second path, and what is seen, paid and drawn."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy import rng
from quickstudy.episode import State
from quickstudy.errors import ConfigError
from quickstudy.rl.environments import idm, traffic
from quickstudy.rl.environments.driver import idm_driver, surely
from quickstudy.rl.environments.highway import FASTER, IDLE, LEFT, RIGHT, SLOWER, Highway
from quickstudy.rl.play import Played, Stage

ONE = torch.tensor(1.0)
FREE = torch.tensor(math.inf)


def stage(count: int, split: str = "test", first: int = 0, **options: Any) -> Stage:
    source: Any = qs.registry.sources.make("highway", **options)
    return source.stage(split, torch.arange(first, first + count))


def random_policy(memory: Any, x: Any, first: Tensor) -> tuple[Any, Tensor]:
    return memory, torch.zeros(len(first), 6)


def returns(played: Played) -> Tensor:
    """Of a trial's episodes together, (n,)."""
    return (played.reward * played.mask).sum(1)


# The Intelligent Driver Model


@pytest.mark.parametrize(("share", "pull"), [(0.0, 1.0), (0.5, 15 / 16), (1.0, 0.0)])
def test_on_a_free_road_cars_accelerate_by_the_fourth_power_of_their_speed(share: float, pull: float) -> None:
    found = idm.acceleration(share * 30 * ONE, FREE, 0 * ONE, 30 * ONE, 1.5 * ONE)
    assert float(found) == pytest.approx(pull * idm.HASTE, abs=1e-6)


def test_at_the_equilibrium_gap_a_car_keeps_its_speed() -> None:
    speed, headway = torch.linspace(0, 29, 30), torch.tensor(1.2)
    gap = idm.equilibrium_gap(speed, 30 * ONE, headway)
    assert gap[0] == idm.STANDSTILL  # in a jam
    found = idm.acceleration(speed, gap, 0 * ONE, 30 * ONE, headway)
    torch.testing.assert_close(found, torch.zeros(30), atol=1e-5, rtol=0)
    assert (idm.acceleration(speed, gap - 0.5, 0 * ONE, 30 * ONE, headway) < 0).all()
    assert (idm.acceleration(speed, gap + 0.5, 0 * ONE, 30 * ONE, headway) > 0).all()


def test_nobody_brakes_harder_than_brakes_can() -> None:
    found = idm.acceleration(30 * ONE, torch.tensor([-3.0, 0.0, 1.0]), 30 * ONE, 30 * ONE, ONE)
    assert found.tolist() == [-idm.HARDEST] * 3


def test_a_ring_of_cars_settles_at_equal_gaps_and_the_speed_of_their_equilibrium() -> None:
    low, high = 0.0, 30.0
    for _ in range(60):  # the speed whose equilibrium gap is 35 m
        middle = (low + high) / 2
        below = float(idm.equilibrium_gap(middle * ONE, 30 * ONE, 1.5 * ONE)) < 35
        low, high = (middle, high) if below else (low, middle)
    one = torch.ones(1, 1)
    drivers = traffic.Drivers(torch.full((1, 10), 30.0), 1.5 * one, one, one.long(), 400 * one)
    x = torch.arange(10.0)[None] * 40 + torch.tensor([[0, 9, 3, -9, 12, 0, -11, 7, 2, -2.0]])
    speed, lane, target = torch.full((1, 10), low), torch.zeros(1, 10, dtype=torch.long), torch.tensor([low])
    for _ in range(400):
        now = traffic.order(traffic.distances(x, drivers.ring), lane, drivers.ring)
        x, speed, hit = traffic.moved(x, speed, now, target, 0.6, (-5.0, 4.0), drivers)
        assert not hit.any()
    assert 18 < low < 22
    torch.testing.assert_close(speed, torch.full((1, 10), low), atol=0.01, rtol=0)
    torch.testing.assert_close(now.ahead - idm.LENGTH, torch.full((1, 10), 35.0), atol=0.1, rtol=0)


# MOBIL


def test_mobil_weighs_what_others_gain_by_politeness() -> None:
    own, new, old = (idm.Change(torch.tensor(a), torch.tensor(b)) for a, b in ((0.2, 1.0), (-0.1, -1.6), (-0.5, 0.0)))
    found = [float(idm.incentive(own, new, old, torch.tensor(p))) for p in (0.0, 0.5, 1.0)]
    assert found == pytest.approx([0.8 - 0.1, 0.8 + 0.5 * (-1.5 + 0.5) - 0.1, 0.8 - 1.5 + 0.5 - 0.1], abs=1e-6)


@pytest.mark.parametrize("who", ["own", "new"])
def test_no_change_of_lanes_asks_anyone_to_brake_harder_than_is_safe(who: str) -> None:
    changes = {name: idm.Change(torch.tensor(-8.0), torch.tensor(1.0)) for name in ("own", "new", "old")}
    assert idm.incentive(**changes, politeness=ONE) > 0
    changes[who] = idm.Change(torch.tensor(-8.0), torch.tensor(-idm.SAFE - 0.1))
    assert idm.incentive(**changes, politeness=ONE) == -math.inf


def one_wish(i: int, x: list[float], v: list[float], lane: list[int], side: int, v0: list[float], rest: Any) -> float:
    """What car i gains by a change of lanes, by lists and loops: cars of a lane in a row."""
    headway, politeness, lanes, ring = rest
    if not 0 <= lane[i] + side < lanes:
        return -math.inf

    def pull(who: int, leader: int | None) -> float:
        if leader is None:
            gap, closing = math.inf, 0.0
        else:
            gap, closing = ((x[leader] - x[who]) % ring or ring) - 5.0, v[who] - v[leader]
        wanted = 2 + max(0.0, v[who] * headway + v[who] * closing / (2 * math.sqrt(3.0)))
        return max(-9.0, 1.5 * (1 - (v[who] / v0[who]) ** 4 - (wanted / max(gap, 0.1)) ** 2))

    def next_to(lane_of: int, up: bool) -> int | None:
        others = [j for j in range(len(x)) if j != i and lane[j] == lane_of]
        return min(others, key=lambda j: (x[j] - x[i] if up else x[i] - x[j]) % ring, default=None)

    ahead, behind = next_to(lane[i], True), next_to(lane[i], False)
    new_ahead, new_behind = next_to(lane[i] + side, True), next_to(lane[i] + side, False)
    now, then = pull(i, i if ahead is None else ahead), pull(i, new_ahead)
    others = 0.0
    if behind is not None:
        others += pull(behind, ahead if ahead != behind else behind) - pull(behind, i)
    if new_behind is not None:
        after = pull(new_behind, i)
        others += after - pull(new_behind, new_ahead)
        if after < -4:
            return -math.inf
    return -math.inf if then < -4 else then - now + politeness * others - 0.1


def test_cars_at_one_place_follow_one_another() -> None:
    """Each has one follower, and the first sees the other at no distance, so that they touch."""
    ring, x, lane = torch.tensor([[100.0]]), torch.tensor([[30.0, 70.0, 30.0]]), torch.zeros(1, 3, dtype=torch.int64)
    now = traffic.order(traffic.distances(x, ring), lane, ring)
    assert now.leader.tolist() == [[2, 0, 1]] and now.follower.tolist() == [[1, 2, 0]]
    assert now.ahead[0].tolist() == pytest.approx([0.0, 60.0, 40.0], abs=1e-4)
    assert bool(traffic.touched(now, now.ahead - idm.LENGTH))


@pytest.mark.parametrize("side", [-1, 1])
def test_wishes_are_those_that_loops_over_cars_find(side: int) -> None:
    keys = rng.fold(rng.key(0, "wishes"), torch.arange(40))
    count, ring = 7, torch.full((40, 1), 240.0)
    x, v = rng.uniform(keys, (count,), 0, 240), rng.uniform(rng.fold(keys, 1), (count,), 5, 25)
    lane, v0 = rng.integers(rng.fold(keys, 2), 3, (count,)), rng.uniform(rng.fold(keys, 3), (count,), 18, 30)
    drivers = traffic.Drivers(
        v0, torch.full((40, 1), 1.2), torch.full((40, 1), 0.4), torch.full((40, 1), 3, dtype=torch.long), ring
    )
    apart = traffic.distances(x, ring)
    now = traffic.order(apart, lane, ring)
    found = traffic.wishes(apart, now, v, lane, torch.full((40, 1), side), drivers)
    for k in range(40):
        lists = [t[k].tolist() for t in (x, v, lane, v0)]
        told = [one_wish(i, *lists[:3], side, lists[3], (1.2, 0.4, 3, 240.0)) for i in range(count)]
        assert found[k].tolist() == pytest.approx(told, abs=2e-3)
    assert 10 < (found > 0).sum() < 200


# The environment


def by_hand(highway: Highway, x: list[float], lane: list[int], speed: float = 20.0) -> tuple[State, State]:
    """A road of three lanes and 700 m with its cars, all as fast; what pays is 20 m/s, and the right side."""
    task = {
        name: torch.tensor([value])
        for name, value in (
            ("density", 10 / 3), ("wanted", 25.0), ("headway", 1.5), ("politeness", 0.5), ("pays", 20.0), ("side", 1.0),
        )
    } | {"lanes": torch.tensor([3])}  # fmt: skip
    state = highway.reset(task, torch.zeros(1, dtype=torch.long))
    places, lanes = torch.tensor([x]), torch.tensor([lane])
    speeds = torch.full_like(places, speed)
    return task, state | {"x": places, "lane": lanes, "speed": speeds, "target": speeds[:, 0]}


def stepped(highway: Highway, task: State, state: State, action: int) -> Any:
    return highway.step(task, state, torch.tensor([action]), torch.zeros(1, dtype=torch.long))


SMALL = Highway(cars=6, density=(3.0, 4.0))
FAR = [200.0, 235.0, 270.0, 300.0, 330.0, 0.0]


def test_a_change_into_a_car_is_a_collision_and_ends_the_episode() -> None:
    task, state = by_hand(SMALL, [100.0, 103.0, *FAR[:-1]], [1, 2, 0, 0, 0, 0, 0])
    hit, other = stepped(SMALL, task, state, RIGHT), stepped(SMALL, task, state, IDLE)
    assert hit.ended.item() and hit.reward.item() == 0
    assert not other.ended.item() and other.reward.item() > 0


def test_who_does_not_brake_for_a_standing_car_runs_into_it() -> None:
    task, state = by_hand(SMALL, [0.0, 60.0, 70.0, 66.0, 10.0, 80.0, 90.0], [1, 1, 1, 0, 2, 0, 2])
    state["speed"][:, 1:] = 0
    state["wanted"][:] = 0.01  # nobody moves
    for _ in range(5):
        step = stepped(SMALL, task, state, IDLE)
        state = step.state
        if step.ended.item():
            break
    assert step.ended.item() and 35 < state["x"][0, 0] <= 80


def test_pay_is_for_the_speed_and_the_side_that_pay() -> None:
    task, state = by_hand(SMALL, [0.0, *FAR], [2, 0, 0, 0, 0, 0, 0])
    assert stepped(SMALL, task, state, IDLE).reward.item() == pytest.approx(1.0)
    assert stepped(SMALL, task, state, LEFT).reward.item() == pytest.approx(0.8 + 0.2 * 0.5)
    faster = stepped(SMALL, task, state, FASTER)
    lost = float(faster.state["speed"][0, 0] - 20) / 10
    assert 0.3 < lost < 0.5 and faster.reward.item() == pytest.approx(0.8 * (1 - lost) + 0.2, abs=1e-5)
    assert stepped(SMALL, task, state, SLOWER).state["target"].item() == 15


def test_what_is_seen_are_the_nearest_cars_around() -> None:
    task, state = by_hand(SMALL, [100.0, 140.0, 130.0, 60.0, 98.0, 690.0, 260.0], [1, 1, 1, 0, 2, 1, 2])
    state["speed"][0] = torch.tensor([20.0, 1, 26, 14, 21, 30, 3])
    seen = SMALL.read(SMALL.observe(task, state))
    assert (seen.speed.item(), seen.left.item(), seen.right.item()) == pytest.approx((20, 1, 1))
    assert seen.there[0].tolist() == [[False, True], [True, False], [False, True]]  # 110 m behind is out of sight
    inf = math.inf
    assert seen.gap[0].flatten().tolist() == pytest.approx([inf, 35, 25, inf, inf, -3], abs=1e-3)
    assert seen.faster[0].flatten().tolist() == pytest.approx([0, -6, 6, 0, 0, 1], abs=1e-4)


def test_nothing_that_is_seen_tells_what_pays_or_how_others_drive() -> None:
    now = stage(200)
    highway, state = now.environment, now.environment.reset(now.task, now.keys)
    told = ("wanted", "headway", "politeness", "pays", "side")
    other = now.task | {name: now.task[name].flip(0) for name in told}
    assert torch.equal(highway.observe(now.task, state), highway.observe(other, state))
    action = torch.full((200,), IDLE)
    rule = now.task | {name: now.task[name].flip(0) for name in ("pays", "side")}
    one, two = (highway.step(task, state, action, now.keys) for task in (now.task, rule))
    assert all(torch.equal(value, two.state[name]) for name, value in one.state.items())
    assert ((one.reward - two.reward).abs() > 0.05).float().mean() > 0.7


def gaps(highway: Any, task: State, state: State) -> Tensor:
    """From each car to the one ahead in its lane, bumper to bumper."""
    ring = highway._ring(task)[:, None]
    return traffic.order(traffic.distances(state["x"], ring), state["lane"], ring).ahead - idm.LENGTH


def test_no_car_passes_through_another_whatever_the_own_one_does() -> None:
    now = stage(300)
    highway, task, keys = now.environment, now.task, now.keys
    state, changes, ended = highway.reset(task, keys), 0, 0
    assert gaps(highway, task, state).min() > idm.STANDSTILL
    for t in range(60):
        own = rng.fold(keys, t)
        step = highway.step(task, state, rng.integers(own, 5), own)
        assert (gaps(highway, task, step.state)[~step.ended] > 0).all()
        assert ((step.state["x"] >= 0) & (step.state["x"] < highway._ring(task)[:, None])).all()
        assert ((step.state["lane"] >= 0) & (step.state["lane"] < task["lanes"][:, None])).all()
        assert (step.reward >= 0).all() and (step.reward <= 1).all()
        side = (step.state["lane"] - state["lane"])[:, 1:]
        assert (side * (2 * state["turn"][:, None] - 1) >= 0).all(), "to the left and to the right in turn"
        assert torch.equal(step.state["turn"], 1 - state["turn"])
        changes += int(side.abs().sum())
        ended += int(step.ended.sum())
        state = highway.anew(task, step.state, step.ended, rng.fold(own, 1))
    assert changes > 1000 and ended > 100


def test_a_lane_does_not_know_who_is_beside_it() -> None:
    whole, alone = stage(30).play(random_policy, {}, 2), stage(1, first=17).play(random_policy, {}, 2)
    assert torch.equal(whole.x[17, : alone.x.shape[1]], alone.x[0])
    assert torch.equal(whole.reward[17, : alone.x.shape[1]], alone.reward[0])


def test_the_same_keys_bring_the_same_and_others_something_else() -> None:
    one, two, other = (stage(20).play(random_policy, {}, 1, label) for label in (0, 0, 1))
    assert torch.equal(one.x, two.x) and torch.equal(one.reward, two.reward)
    assert not torch.equal(one.x[:, 0], other.x[:, 0])


def test_tasks_are_in_their_ranges_and_none_is_in_two_splits() -> None:
    tasks = {split: stage(2000, split).task for split in ("train", "val", "test")}
    assert {int(n) for n in tasks["train"]["lanes"].unique()} == {2, 3, 4}
    for name, (low, high) in {"wanted": (18, 30), "density": (5, 20), "pays": (12, 32), "headway": (0.8, 2)}.items():
        drawn = tasks["test"][name]
        assert low <= drawn.min() < low + 0.05 * (high - low) and high - 0.05 * (high - low) < drawn.max() <= high
    now = stage(2000)
    share = now.environment.reset(now.task, now.keys)["wanted"] / now.task["wanted"][:, None]
    assert (share.min().item(), share.max().item()) == pytest.approx((0.8, 1.2), abs=0.001), "of drivers of a task"
    drawn = [{tuple(row) for row in torch.stack([*one.values()], 1).tolist()} for one in tasks.values()]
    assert len(set.union(*drawn)) == sum(map(len, drawn)) == 6000


def test_the_idm_driver_is_safe_and_one_that_knows_what_pays_earns_more() -> None:
    now = stage(200)
    played = {
        "random": now.play(random_policy, {}, 1),
        "idm": now.play(idm_driver(now.environment), {}, 1),  # type: ignore[arg-type]
        "knows": now.play(idm_driver(now.environment, speed=now.task["pays"]), {}, 1),  # type: ignore[arg-type]
    }
    earned = {name: float(returns(one).mean()) for name, one in played.items()}
    assert earned["idm"] > 1.6 * earned["random"] and earned["knows"] > 1.2 * earned["idm"]
    assert not played["idm"].ended.any() and not played["knows"].ended.any()
    assert (played["random"].ended & played["random"].mask).any(1).float().mean() > 0.4


def test_several_episodes_follow_each_other() -> None:
    played = stage(40, horizon=12).play(random_policy, {}, 3)
    assert played.x.shape[2] == 22 + 5 + 2 and torch.isfinite(played.x).all()
    assert (played.episode[:, -1] >= 2).all() and played.timed.any() and played.ended.any()
    begins = torch.cat([torch.ones(40, 1), (played.ended | played.timed)[:, :-1].float()], 1)
    begins = begins * played.mask
    assert torch.equal(played.x[..., -1], begins)
    target = played.x[..., 1] * 35
    torch.testing.assert_close(target[begins.bool()], torch.full_like(target[begins.bool()], 20.0))


def test_a_sure_prediction_is_what_is_drawn() -> None:
    actions: Any = Highway().actions
    wanted = torch.arange(1000) % 5
    prediction = surely(wanted, actions.outputs)
    assert torch.equal(actions.sample(prediction, torch.arange(1000)), wanted)
    assert torch.equal(actions.best(prediction), wanted)


@pytest.mark.parametrize(
    "wrong",
    [
        {"wanted": (30.0, 18.0)}, {"density": (5.0, 80.0)}, {"density": (0.0, 5.0)}, {"lanes": (1, 2)},
        {"lanes": (2, 9)}, {"headway": (0.0, 1.0)}, {"wanted": (1.0, 9.0)}, {"cars": 2}, {"horizon": 0},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_a_road_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        replace(Highway(), **wrong)
