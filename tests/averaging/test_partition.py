"""Partition training: every backend gives one result, its limits are known algorithms, and deaths are survived."""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from small_tasks import classes
from torch import Tensor

from quickstudy.averaging import Member, Supervised, split, train_parts
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, DataError, ModelError, TrainingError
from quickstudy.inner import SGD, Adam, Rule
from quickstudy.learners import Network
from quickstudy.models import mlp
from quickstudy.workers import Workers

SPEC = classes((6,), 3)


def data(count: int = 60) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(count, 6, generator=drawn, dtype=torch.float64)
    return x, (x @ torch.randn(6, 3, generator=drawn, dtype=torch.float64)).argmax(1)


def member(parts: list[Tensor], rule: Rule | None = None, **options: object) -> tuple[Supervised, Params]:
    x, y = data()
    network = Network(mlp(SPEC, width=8).double())
    made = Supervised(network, SPEC, rule or SGD(lr=0.2), x, y, tuple(parts), **options)  # type: ignore[arg-type]
    return made, network.init(torch.Generator().manual_seed(1))


def same(one: Params, other: Params, **tolerance: float) -> None:
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], **(tolerance or {"rtol": 1e-10, "atol": 1e-12}))


@pytest.mark.parametrize("how", ["random", "class", "dirichlet", "domain"])
def test_every_example_is_in_exactly_one_part(how: str) -> None:
    _, y = data()
    groups = [f"alphabet {int(i) % 7}" for i in range(len(y))]
    parts = split(y, 5, how, groups=groups, alpha=0.3)  # type: ignore[arg-type]
    assert torch.cat(parts).sort().values.tolist() == list(range(len(y)))
    again = split(y, 5, how, groups=groups, alpha=0.3)  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(parts, again, strict=True))
    if how == "domain":
        kinds = [{groups[i] for i in part.tolist()} for part in parts]
        assert sum(map(len, kinds)) == 7
    if how == "class":
        many = torch.arange(1000) // 100  # ten classes
        assert all(len(set(many[part].tolist())) <= 4 for part in split(many, 10, "class"))


def test_dirichlet_parts_are_the_more_uneven_the_smaller_alpha_is() -> None:
    labels = torch.arange(5000) % 10

    def unevenness(alpha: float) -> float:
        parts = split(labels, 10, "dirichlet", alpha=alpha)
        shares = torch.stack([labels[part].bincount(minlength=10) / len(part) for part in parts])
        return float((shares - 0.1).abs().mean())

    assert unevenness(0.1) > 2 * unevenness(10.0)


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(DataError, match="3 examples cannot be split into 4 parts"):
        split([0, 1, 2], 4)
    with pytest.raises(DataError, match="1 domains cannot be split into 2"):
        split([0, 1, 2], 2, "domain", groups=["a"] * 3)
    with pytest.raises(ConfigError, match="needs `groups`"):
        split([0, 1, 2], 2, "domain")
    with pytest.raises(ConfigError, match="Did you mean 'random'"):
        split([0, 1], 2, "randon")  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", [SGD(lr=0.2), Adam(lr=0.01)])
def test_vmap_equals_one_after_another(rule: Rule) -> None:
    parts = [torch.arange(0, 13), torch.arange(13, 40), torch.arange(40, 45)]  # of unequal sizes: padding must not act
    made, params = member(parts, rule, epochs=3, batch=4)
    for together, part in zip(made.together(params, [0, 1, 2], 5), range(3), strict=True):
        same(together, made(params, part, 5))


def test_one_full_step_of_every_part_is_a_step_on_all_the_data() -> None:
    """Synchronous SGD: the mean of the members' steps, weighted by examples, is the step along the whole gradient."""
    _, y = data()
    made, params = member(split(y, 4, "dirichlet"), batch=None)
    whole, _ = member([torch.arange(len(y))], batch=None)
    same(train_parts(made, params, rounds=3).params, train_parts(whole, params, rounds=3).params)


def test_the_outer_rate_scales_the_averaged_difference() -> None:
    made, params = member(split(data()[1], 3), epochs=2)
    full = train_parts(made, params, rounds=1).params
    half = train_parts(made, params, rounds=1, outer_lr=0.5).params
    same(half, {name: (params[name] + full[name]) / 2 for name in params})


def test_training_on_parts_learns_and_repeats() -> None:
    x, y = data()
    made, params = member(split(y, 10, "class"), epochs=5)

    def score(phi: Params) -> float:
        return float((made.network(phi, x).argmax(1) == y).double().mean())

    found = train_parts(made, params, rounds=30, fraction=0.3, score=score, every=5, until=0.95)
    assert found.rounds[-1].score is not None and found.rounds[-1].score >= 0.9
    assert all(len(turn.members) == 3 for turn in found.rounds)
    assert {part for turn in found.rounds for part in turn.members} == set(range(10))
    again = train_parts(made, params, rounds=len(found.rounds), fraction=0.3)
    assert all(torch.equal(found.params[name], again.params[name]) for name in params)


@dataclass(frozen=True)
class Failing(Member):
    """Adds its number; part 1 fails in the way that is said, the first time only if there is a file to say so."""

    how: str
    flag: Path

    @property
    def sizes(self) -> list[int]:
        return [1, 1, 1]

    def __call__(self, params: Params, part: int, turn: int) -> Params:
        if part == 1 and not (self.how.endswith("once") and self.flag.exists()):
            self.flag.touch()
            if self.how.startswith("dies"):
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how.startswith("nan"):
                return {"w": params["w"] * torch.nan}
            raise ValueError("no luck")
        return {"w": params["w"] + part}


@pytest.mark.parametrize(
    ("how", "backend", "expected"),
    [
        ("raises", "loop", (0, 2)),
        ("raises once", "loop", (0, 1, 2)),
        ("nan", "loop", (0, 2)),
        ("dies", "processes", (0, 2)),
        ("dies once", "processes", (0, 1, 2)),
        ("raises", "processes", (0, 2)),
    ],
)
def test_a_member_that_fails_is_retried_and_then_left_out(
    how: str, backend: str, expected: tuple[int, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = Failing(how, tmp_path / "failed")
    with caplog.at_level(logging.WARNING):
        found = train_parts(made, {"w": torch.zeros(1)}, rounds=1, backend=backend, workers=2)  # type: ignore[arg-type]
    assert found.rounds[0].members == expected
    assert float(found.params["w"]) == pytest.approx(sum(expected) / len(expected))
    assert "member 1" in caplog.text
    if 1 not in expected:
        assert found.rounds[0].lost == (1,)


def test_a_round_that_nobody_survives_is_an_error() -> None:
    made, params = member(split(data()[1], 3))
    broken = {name: value * torch.nan for name, value in params.items()}
    with pytest.raises(TrainingError, match="failed or ended at NaN"):
        train_parts(made, broken, rounds=1)


def test_processes_give_what_vmap_gives() -> None:
    made, params = member(split(data()[1], 4), epochs=2)
    same(
        train_parts(made, params, rounds=2, backend="processes", workers=2).params,
        train_parts(made, params, rounds=2).params,
    )


def test_a_member_is_sent_no_more_data_than_its_own() -> None:
    made, params = member(split(data()[1], 4), epochs=2)
    alone = made.only(2)
    assert len(alone.x) == made.sizes[2]
    same(alone(params, 2, 1), made(params, 2, 1))


def test_options_that_make_no_sense_are_refused() -> None:
    made, params = member(split(data()[1], 3))
    with pytest.raises(ConfigError, match="fraction"):
        train_parts(made, params, rounds=1, fraction=0)
    with pytest.raises(ConfigError, match="Did you mean 'processes'"):
        train_parts(made, params, rounds=1, backend="process")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="cannot be vectorised"):
        train_parts(Failing("raises", Path()), {"w": torch.zeros(1)}, rounds=1)


def test_batch_statistics_are_refused() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 3))
    with pytest.raises(ModelError, match="nn.GroupNorm"):
        Supervised(Network(module), SPEC, SGD(lr=0.1), *data(), parts=(torch.arange(60),))


def test_workers_that_are_given_are_kept_and_give_the_same() -> None:
    made, params = member(split(data()[1], 3), epochs=2)
    here = train_parts(made, params, rounds=2, backend="loop").params
    with Workers("threads", 2) as workers:
        for _ in range(2):
            same(train_parts(made, params, rounds=2, backend=workers).params, here)
        with pytest.raises(ConfigError, match="2 workers already, found workers=3"):
            train_parts(made, params, rounds=1, backend=workers, workers=3)
