"""The arcade: each game's dynamics by hand, rules that vary as they say, and splits that share none."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy import rng
from quickstudy.episode import State
from quickstudy.errors import ConfigError
from quickstudy.rl.environments.arcade import GAMES, Arcade, Revealed, oracle_stage
from quickstudy.rl.environments.arcade.board import (
    DOWN,
    FIGURE,
    KINDS,
    LEFT,
    MOVES,
    NOTHING,
    ONE,
    OTHER,
    REST,
    RIGHT,
    SIZE,
    STILL,
    UP,
)
from quickstudy.rl.environments.arcade.rules import RULES, combinations, rules
from quickstudy.rl.play import Played, Stage

SPLITS = ("train", "val", "test")
NAMES = tuple(GAMES)
ALL = tuple(range(len(GAMES)))
KEY = torch.zeros(1, dtype=torch.long)


def stage(count: int, split: str = "test", first: int = 0, **options: Any) -> Stage:
    source: Any = qs.registry.sources.make("arcade", **options)
    return source.stage(split, torch.arange(first, first + count))


def random_policy(memory: Any, x: Any, first: Tensor) -> tuple[Any, Tensor]:
    return memory, torch.zeros(len(first), MOVES + 1)


def returns(played: Played) -> Tensor:
    """Of a trial's episodes together, (n,)."""
    return (played.reward * played.mask).sum(1)


def plain(name: Any, count: int = 1, period: int = 1, pays: int = ONE, sticky: float = 0.0) -> State:
    """A task of a game whose controls and colours are as they are."""
    task = {"game": NAMES.index(name), "period": period, "pays": pays}
    return {one: torch.full((count,), value) for one, value in task.items()} | {
        "sticky": torch.full((count,), sticky),
        "controls": torch.arange(MOVES).repeat(count, 1),
        "colours": torch.arange(KINDS).repeat(count, 1),
    }


# Rules


def told(task: State) -> Tensor:
    """One number for what a task is, (n,), another for another."""
    digits = [task["game"], task["period"], (task["sticky"] * 100).round().long(), task["pays"]]
    digits += [*task["controls"].unbind(1), *task["colours"].unbind(1)]
    number = torch.zeros_like(task["game"])
    for digit in digits:
        number = number * 26 + digit
    return number


def test_every_combination_of_rules_is_in_one_split() -> None:
    parts = [combinations(split, ALL) for split in SPLITS]
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(len(GAMES) * RULES))
    assert [len(part) / (len(GAMES) * RULES) for part in parts] == pytest.approx([11 / 18, 3 / 18, 4 / 18])
    assert len(told(rules(torch.arange(len(GAMES) * RULES))).unique()) == len(GAMES) * RULES == 5 * 3 * 3 * 2 * 4 * 2


@pytest.mark.parametrize("split", SPLITS)
def test_no_split_favours_one_who_knows_no_rules(split: str) -> None:
    """In each game both kinds pay equally often under all controls alike, so that a bet on one of them comes to 0."""
    for game in ALL:
        task = rules(combinations(split, (game,)))
        kinds = torch.cat([task["controls"], task["pays"][:, None]], 1).unique(dim=0, return_counts=True)
        assert len(kinds[1]) == 8 and len(kinds[1].unique()) == 1


def test_what_is_held_out_does_not_depend_on_which_games_there_are() -> None:
    whole = combinations("val", ALL)
    for game in ALL:
        assert torch.equal(combinations("val", (game,)), whole[whole // RULES == game])


def test_tasks_of_other_splits_are_absent_from_training() -> None:
    trained = told(rules(combinations("train", ALL)))
    drawn = {split: told(stage(3000, split).task) for split in SPLITS}
    assert torch.isin(drawn["train"], trained).all()
    assert not torch.isin(drawn["val"], trained).any() and not torch.isin(drawn["test"], trained).any()
    assert not torch.isin(drawn["val"], drawn["test"]).any()


def test_every_rule_occurs_and_opposite_controls_are_swapped_and_so_are_colours() -> None:
    task = stage(3000).task
    controls, colours = ({tuple(row) for row in task[name].tolist()} for name in ("controls", "colours"))
    across, along = ([LEFT, RIGHT], [RIGHT, LEFT]), ([UP, DOWN], [DOWN, UP])
    assert controls == {(STILL, *one, *other) for one in across for other in along}
    assert colours == {(FIGURE, ONE, OTHER, REST), (REST, ONE, OTHER, FIGURE)}
    shares = [(task["game"] == game).float().mean().item() for game in ALL]
    assert shares == pytest.approx([0.2] * 5, abs=0.03)
    assert task["period"].unique().tolist() == [1, 2, 3] and task["pays"].unique().tolist() == [ONE, OTHER]


def test_training_is_told_what_decides_what_to_do() -> None:
    task, world = rules(combinations("train", ALL)), Arcade()
    across, along, pays, speed = world.rules(task).unbind(1)
    assert torch.equal(across > 0, task["controls"][:, 1] == LEFT) and torch.equal(
        along > 0, task["controls"][:, 3] == UP
    )
    assert torch.equal(pays > 0, task["pays"] == ONE) and torch.equal(speed, 2.0 - task["period"])
    assert all(part.unique().tolist() in ([-1, 1], [-1, 0, 1]) for part in (across, along, pays, speed))


def test_plain_rules_are_a_share_of_training_alone() -> None:
    def shares(**options: Any) -> list[float]:
        task = stage(4000, "train", **options).task
        assert torch.isin(told(task), told(rules(combinations("train", ALL)))).all()
        as_they_are = (
            (task["controls"] == torch.arange(MOVES)).all(1), task["pays"] == ONE,
            (task["colours"] == torch.arange(KINDS)).all(1),
        )  # fmt: skip
        return [share.double().mean().item() for share in as_they_are]

    assert shares() == pytest.approx([1 / 4, 1 / 2, 1 / 2], abs=0.03)
    assert shares(plain=0.5) == pytest.approx([0.5 + 0.5 / 4, 0.75, 1 / 2], abs=0.03)
    assert shares(plain=1.0)[:2] == [1, 1]
    assert torch.equal(told(stage(100, plain=1.0).task), told(stage(100).task))
    with pytest.raises(ConfigError, match="share"):
        stage(1, plain=1.5)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="val"):
        combinations("validation", ALL)


@pytest.mark.parametrize("games", [(), ("catch", "catch"), ("tennis",)])
def test_games_that_are_none_are_refused(games: Any) -> None:
    with pytest.raises(ConfigError, match="catch"):
        Arcade(games=games)


@pytest.mark.parametrize("sticky", [0.0, 0.1, 0.25])
def test_sticky_actions_repeat_the_move_before_with_their_probability(sticky: float) -> None:
    arcade, task = Arcade(), plain("catch", 4000, sticky=sticky)
    keys = rng.fold(rng.key(0, "sticky"), torch.arange(4000))
    state, again = arcade.reset(task, keys), []
    for t in range(20):
        before = state["last"]
        action = (before + 1) % MOVES  # never the one before
        state = arcade.step(task, state, action, rng.fold(keys, t)).state
        again.append(state["last"] == before)
        assert ((state["last"] == before) | (state["last"] == action)).all()
    assert torch.stack(again).float().mean().item() == pytest.approx(sticky, abs=0.004)


def trajectory(task: State, actions: Tensor, keys: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """What is seen and what is paid in each step, of actions (T, n)."""
    arcade = Arcade()
    state, seen, paid = arcade.reset(task, keys), [], []
    for t, action in enumerate(actions):
        seen.append(arcade.observe(task, state))
        step = arcade.step(task, state, action, rng.fold(keys, t))
        state = arcade.anew(task, step.state, step.ended, rng.fold(keys, 1000 + t))
        paid.append(step.reward)
    return seen, paid


@pytest.mark.parametrize("name", NAMES)
def test_swapped_controls_and_colours_and_pay_change_that_and_nothing_else(name: str) -> None:
    keys = rng.fold(rng.key(1, name), torch.arange(200))
    actions = rng.integers(rng.fold(rng.key(2), torch.arange(60)), MOVES, (200,))
    task = plain(name, 200)
    seen, paid = trajectory(task, actions, keys)
    assert torch.stack(paid).abs().sum() > 0
    controls, colours = rng.permutation(rng.fold(keys, 1), MOVES), rng.permutation(rng.fold(keys, 2), KINDS)
    swapped = task | {"controls": controls, "colours": colours}
    undone = controls.argsort(1)[torch.arange(200), actions]
    other, other_paid = trajectory(swapped, undone, keys)
    for one, two, pay, other_pay in zip(seen, other, paid, other_paid, strict=True):
        there = torch.cat([colours, colours + KINDS], 1)  # now, and what has changed
        assert torch.equal(one, two[torch.arange(200)[:, None], there]) and torch.equal(pay, other_pay)
    # A body that grows by what pays alone, and what is bitten then, would differ.
    if name != "snake":
        reversed_seen, reversed_paid = trajectory(task | {"pays": torch.full((200,), OTHER)}, actions, keys)
        assert all(map(torch.equal, seen, reversed_seen))
        assert all(torch.equal(one, -two) for one, two in zip(paid, reversed_paid, strict=True))


@pytest.mark.parametrize("period", [1, 2, 3])
def test_things_move_once_in_a_period(period: int) -> None:
    arcade, task = Arcade(), plain("cross", period=period)
    state, moved = arcade.reset(task, KEY), []
    for _ in range(12):
        after = arcade.step(task, state, torch.tensor([STILL]), KEY).state
        moved.append(int((after["col"][:, 11:19] != state["col"][:, 11:19]).all()))
        state = after
    assert moved == [int((t + 1) % period == 0) for t in range(12)]


# Games by hand


def board(name: Any, things: list[tuple[int, int, int, int]], **rows: Any) -> State:
    """A state of a game with (index, row, column, kind) and nothing else on it."""
    state = Arcade().reset(plain(name), KEY)
    state["kind"][:] = NOTHING
    for i, row, col, kind in things:
        state["row"][0, i], state["col"][0, i], state["kind"][0, i] = row, col, kind
    for key, (i, value) in rows.items():
        state[key.rstrip("_")][0, i] = value
    return state


def act(name: Any, state: State, *moves: int, **task: Any) -> tuple[State, list[float], bool]:
    """The state after moves, what each brought, and whether the last ended the episode."""
    arcade, rule, paid = Arcade(), plain(name, **task), []
    for move in moves:
        step = arcade.step(rule, state, torch.tensor([move]), KEY)
        state = step.state
        paid.append(step.reward.item())
    return state, paid, bool(step.ended)


def at(state: State, i: int) -> tuple[int, int]:
    return int(state["row"][0, i]), int(state["col"][0, i])


def test_catch_pays_for_what_reaches_the_figure() -> None:
    start = board("catch", [(0, 9, 4, FIGURE), (1, 8, 5, ONE), (2, 7, 5, OTHER), (3, 8, 9, ONE)])
    state, paid, ended = act("catch", start, RIGHT, STILL, STILL)
    assert paid == pytest.approx([0.06, -0.06, 0]) and not ended
    assert int(state["row"][0, 1]) == 2 and int(state["row"][0, 2]) == 1, "another falls from the top"
    assert act("catch", start, LEFT)[1] == [0]
    assert act("catch", start, RIGHT, pays=OTHER)[1] == pytest.approx([-0.06])


def test_cross_pays_at_the_gate_and_a_car_takes_back() -> None:
    gates = [(i + 1, 2, i, ONE if i < 5 else OTHER) for i in range(10)]
    through, paid, _ = act("cross", board("cross", [(0, 3, 4, FIGURE), *gates]), UP)
    assert paid == pytest.approx([1 / 12]) and at(through, 0) == (7, 4)
    assert act("cross", board("cross", [(0, 3, 5, FIGURE), *gates]), UP)[1] == pytest.approx([-1 / 12])
    car = board("cross", [(0, 7, 4, FIGURE), *gates, (11, 6, 3, REST)], right=(11, 1))
    assert at(act("cross", car, UP)[0], 0) == (7, 4), "the car comes to where the figure goes"
    assert at(act("cross", car, STILL, UP)[0], 0) == (7, 4), "the car is there"
    assert at(act("cross", car, STILL, STILL, UP)[0], 0) == (6, 4), "the car is gone"


def test_snake_eats_grows_and_bites_itself() -> None:
    tail = [(3 + i, 5, 4 - i, REST) for i in range(3)]
    start = board("snake", [(0, 5, 5, FIGURE), (1, 5, 6, ONE), (2, 0, 0, OTHER), *tail], right=(0, 1))
    state, paid, _ = act("snake", start, STILL, STILL)
    assert paid == pytest.approx([1 / 15, 0])
    assert at(state, 0) == (5, 7) and [at(state, 3 + i) for i in range(4)] == [(5, 6), (5, 5), (5, 4), (5, 3)]
    assert (state["kind"][0] == REST).sum() == 4
    assert act("snake", start, LEFT)[0]["col"][0, 0] == 6, "it does not turn back"
    assert act("snake", start, STILL, DOWN, LEFT)[2] is False
    assert act("snake", start, STILL, DOWN, LEFT, UP)[2] is True
    assert act("snake", start, DOWN, LEFT, UP)[2] is False, "the end of a tail of three has gone on"
    edge = board("snake", [(0, 0, 9, FIGURE), (1, 5, 5, ONE), (2, 9, 0, OTHER), *tail], right=(0, 1))
    assert at(act("snake", edge, STILL)[0], 0) == (0, 0)
    assert act("snake", edge, STILL, UP)[1] == [0, 0], "what pays less has drifted on"
    assert act("snake", edge, UP, RIGHT, STILL)[1] == pytest.approx([0, 0, -1 / 15])


def test_bricks_bounce_by_where_the_paddle_is_met() -> None:
    wall = [(4 + i, 2, i, ONE if i in (2, 7) else OTHER) for i in range(10)]
    paddle = [(i, 9, 3 + i, FIGURE) for i in range(3)]
    ball = {"down": (3, 1), "right": (3, 0)}
    start = board("bricks", [*paddle, (3, 8, 4, REST), *wall], **ball)
    for move, col in ((RIGHT, 3), (STILL, 4), (LEFT, 5)):
        state, _, ended = act("bricks", start, move, STILL)
        assert at(state, 3) == (7, col) and not ended
    for far, lost in ((3, False), (4, True)):  # the paddle begins so far away and comes one nearer
        paddle = [(i, 9, 4 + far - 1 + i, FIGURE) for i in range(3)]
        assert act("bricks", board("bricks", [*paddle, (3, 7, 4, REST), *wall], **ball), LEFT, LEFT)[2] is lost
    state, paid, _ = act("bricks", start, RIGHT, *[STILL] * 5, STILL)
    assert paid[:6] == [0] * 6 and paid[6] == pytest.approx(0.12), "by columns 3, 2, 1, 0, 1 to brick 2"
    assert at(state, 3)[0] == 3 and state["down"][0, 3] == 1
    assert ((state["kind"] == ONE) | (state["kind"] == OTHER)).sum() == 10, "a brick is followed by another"
    straight = board("bricks", [*paddle, (3, 3, 7, REST), *wall], down=(3, -1), right=(3, 0))
    assert act("bricks", straight, STILL)[1] == pytest.approx([0.12])


def test_shots_hit_and_bombs_end_the_episode() -> None:
    start = board("shoot", [(0, 9, 4, FIGURE), (1, 1, 0, OTHER), (2, 2, 0, OTHER), (3, 3, 9, ONE)], right=(3, -1))
    start["right"][0, 1:3] = 0
    # Fired at once the shot is in row 3 after five steps more, when the target goes from column 4 to column 3.
    state, paid, _ = act("shoot", start, UP, *[STILL] * 5)
    assert paid == pytest.approx([0, 0, 0, 0, 0, 0.1]) and state["kind"][0, 4] == NOTHING
    assert act("shoot", start, STILL, STILL, STILL, UP, *[STILL] * 5)[1] == [0] * 9
    again = act("shoot", start, UP, RIGHT, UP)[0]
    assert at(again, 4) == (6, 4), "one shot at a time"
    bomb = board("shoot", [(0, 9, 4, FIGURE), (1, 1, 0, ONE), (2, 2, 0, ONE), (3, 3, 9, ONE), (5, 7, 4, REST)])
    assert act("shoot", bomb, STILL)[2] is False and act("shoot", bomb, STILL, STILL)[2] is True
    assert act("shoot", bomb, STILL, LEFT)[2] is False


# Play


@pytest.mark.parametrize(
    ("name", "least"), [("catch", 0.6), ("cross", 0.6), ("snake", 0.4), ("bricks", 0.2), ("shoot", 0.3)]
)
def test_games_can_be_won_and_not_by_chance(name: Any, least: float) -> None:
    now = stage(150, games=(name,))
    revealed, oracle = oracle_stage(now)
    best, chance = revealed.play(oracle, {}, 1), now.play(random_policy, {}, 1)
    assert returns(best).mean() > least and returns(chance).mean().abs() < 0.06
    assert returns(best).abs().max() < 2.5
    assert best.mask.sum() > 0.85 * 150 * 100, "it stays alive"


def test_each_thing_is_in_the_plane_of_its_colour() -> None:
    now = stage(300)
    arcade: Any = now.environment
    state = arcade.reset(now.task, now.keys)
    seen = arcade.observe(now.task, state)
    for lane, i in itertools.product(range(0, 300, 7), range(20)):
        if (kind := int(state["kind"][lane, i])) != NOTHING:
            plane = int(now.task["colours"][lane, kind])
            assert seen[lane, plane, state["row"][lane, i], state["col"][lane, i]] == 1
    assert seen.shape[1:] == arcade.observation
    seen = seen[:, :KINDS]
    assert seen.unique().tolist() == [0, 1] and (seen.sum((1, 2, 3)) <= (state["kind"] != NOTHING).sum(1)).all()
    assert torch.equal(seen.sum((1, 2, 3)).bool(), torch.ones(300, dtype=torch.bool))
    figure = seen[torch.arange(300), now.task["colours"][:, FIGURE]]
    assert ((figure.sum((1, 2)) >= 1) & (figure.sum((1, 2)) <= 3)).all()


def test_seen_beside_the_board_is_what_has_changed() -> None:
    now = stage(100, horizon=30)
    played = now.play(random_policy, {}, 3)
    x: Any = played.x
    board, changed, first = x[:, :, :KINDS], x[:, :, KINDS : 2 * KINDS], x[:, :, -1, 0, 0].bool() & played.mask
    goes_on = played.mask[:, 1:] & ~first[:, 1:]
    assert torch.equal(changed[:, 1:][goes_on], (board[:, 1:] - board[:, :-1])[goes_on])
    assert first.sum() == 300 and not changed[first].any(), "nothing has moved at a beginning"
    assert changed.unique().tolist() == [-1, 0, 1]


def test_things_stay_on_the_board() -> None:
    now = stage(300)
    arcade, task = now.environment, now.task
    state = arcade.reset(task, now.keys)
    for t in range(100):
        own = rng.fold(now.keys, t)
        step = arcade.step(task, state, rng.integers(own, MOVES), own)
        there = step.state["kind"] != NOTHING
        for name in ("row", "col"):
            assert ((step.state[name] >= 0) & (step.state[name] < SIZE))[there].all()
        state = arcade.anew(task, step.state, step.ended, rng.fold(own, 1))


def test_one_who_sees_all_reads_the_state_itself() -> None:
    now = stage(50)
    arcade: Any = now.environment
    revealed = Revealed(arcade=arcade, horizon=arcade.horizon)
    state = revealed.reset(now.task, now.keys)
    read = revealed.read(revealed.observe(now.task, state))
    assert read.keys() == state.keys() - {"before"}, "what was is no part of what is"
    assert all(torch.equal(value, state[name]) for name, value in read.items())


def test_a_lane_does_not_know_who_is_beside_it() -> None:
    whole, alone = stage(30).play(random_policy, {}, 2), stage(3, first=16).play(random_policy, {}, 2)
    steps = alone.x.shape[1]
    assert torch.equal(whole.x[16:19, :steps], alone.x) and torch.equal(whole.reward[16:19, :steps], alone.reward)


def test_the_same_keys_bring_the_same_and_others_something_else() -> None:
    one, two, other = (stage(20).play(random_policy, {}, 1, label) for label in (0, 0, 1))
    assert torch.equal(one.x, two.x) and torch.equal(one.reward, two.reward)
    assert not torch.equal(one.x[:, 0], other.x[:, 0])


def test_several_episodes_of_all_games_follow_each_other() -> None:
    now = stage(60, horizon=30)
    played = now.play(random_policy, {}, 3)
    assert played.x.shape[2:] == (2 * KINDS + MOVES + 2, SIZE, SIZE) and torch.isfinite(played.reward).all()
    assert (played.episode[:, -1] >= 2).all() and played.ended.any() and played.timed.any()
    first = played.x[:, :, -1, 0, 0].bool()
    over, there = (played.ended | played.timed)[:, :-1], played.mask[:, 1:]
    assert torch.equal(first[:, 1:][there], over[there]) and first[:, 0].all()
    assert set(now.task["game"].tolist()) == set(ALL)
