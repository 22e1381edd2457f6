"""Past tasks as functions: what a new task inherits from them, and how networks are trained over them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("scipy")

from quickstudy.errors import ConfigError, DataError
from quickstudy.registry import strategies
from quickstudy.runs.train import train
from quickstudy.select import warm
from quickstudy.select.warm.ensemble import misranked, weights
from quickstudy.select.warm.experience import Group
from quickstudy.select.warm.learned import known, learn, posterior
from quickstudy.select.warm.meta import bent, config, functions
from quickstudy.select.warm.surfaces import LARGEST, Surfaces, _thinned
from quickstudy.space import Array, Range, Space
from quickstudy.tasks.base import Sampling
from quickstudy.testing import check_source

SPACE = Space({"x": Range(0.0, 1.0), "y": Range(0.0, 1.0)})
GRID = SPACE.draw(60, np.random.default_rng(0))
X = SPACE.encode(GRID)


def task(slope: float, x: Array = X) -> Array:
    """Tasks differ in one direction alone."""
    return np.asarray(np.sin(5 * x[:, 0]) + slope * x[:, 1])


def past(shared: bool = True) -> warm.Experience:
    found = warm.Experience(SPACE)
    for number, slope in enumerate((-2.0, -1.0, 0.0, 1.0, 2.0, 1.5)):
        points = GRID if shared else SPACE.draw(60, np.random.default_rng(number))
        losses = (1 + number) * task(slope, SPACE.encode(points)) + 10 * number
        found = found.task(f"task {number}", points, losses.tolist())
    return found


@pytest.mark.parametrize("shared", [True, False])
def test_surfaces_are_past_tasks_on_the_whole_space(shared: bool) -> None:
    surfaces = Surfaces.of(past(shared), "plain")
    at = np.random.default_rng(9).random((50, 2))
    for column, number in enumerate(surfaces.tasks):
        slope = (-2.0, -1.0, 0.0, 1.0, 2.0, 1.5)[number]
        assert np.corrcoef(surfaces.values(at)[:, column], task(slope, at))[0, 1] > 0.98
    both = surfaces.both(at)
    assert np.allclose(both[:, :6], surfaces.values(at))
    assert (both[:, 6:] > 0).all()


def test_of_many_points_some_are_used_and_the_best_of_all_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quickstudy.select.warm.surfaces.LARGEST", 20)
    surfaces = Surfaces.of(past(), "plain")
    (group,) = surfaces.groups
    assert 14 <= len(group.points) == len(surfaces.processes[0].data.x) <= 20
    assert group.losses.min(axis=0).tolist() == [task.losses.min() for task in past().tasks]
    learn(SPACE, past(), "plain", True, 0, 0)


def test_the_covariance_is_that_of_tasks() -> None:
    values = np.random.default_rng(0).standard_normal((4, 7))
    mean, basis = known(values, True)
    assert np.allclose(mean, values.mean(axis=1))
    assert basis is not None
    assert np.allclose(basis @ basis.T, np.cov(values, bias=True))
    assert known(values, False)[1] is None


@pytest.mark.parametrize("scale", ["plain", "bent"])
def test_three_trials_tell_which_task_it_is(scale: str) -> None:
    knowledge = learn(SPACE, past(), scale, True, 0, 0)
    at = np.random.default_rng(5).random((80, 2))
    for slope in (-1.5, 1.7):
        tried = np.array([[0.5, 0.1], [0.6, 0.9], [0.1, 0.5]])
        losses = 40 + 3 * task(slope, tried)
        errors = {}
        for covariance in (True, False):
            process, best = posterior(knowledge, tried, knowledge.surfaces.values(tried), losses, covariance, 1.0)
            mean, basis = known(knowledge.surfaces.values(at), covariance)
            said = mean + process.mean(at, basis)[:, 0]
            errors[covariance] = 1 - np.corrcoef(said, task(slope, at))[0, 1]
            assert np.isfinite(best)
        assert errors[True] < 0.05
        assert errors[True] < errors[False]


def test_units_of_a_task_are_found() -> None:
    knowledge = learn(SPACE, past(), "plain", True, 0, 0)
    tried = np.random.default_rng(1).random((8, 2))
    values = knowledge.surfaces.values(tried)
    one, best = posterior(knowledge, tried, values, task(1.0, tried), True, 1.0)
    shifted, again = posterior(knowledge, tried, values, task(1.0, tried) + 1000.0, True, 1.0)
    assert np.allclose(one.alpha, shifted.alpha, atol=1e-3 * np.abs(one.alpha).max())
    assert best == pytest.approx(again, abs=1e-3)


def test_misranked_pairs_are_counted() -> None:
    losses = np.array([1.0, 2.0, 3.0])
    drawn = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [2.0, 1.0, 3.0]])
    assert misranked(drawn, losses).tolist() == [0, 6, 2]  # ordered pairs
    own = np.broadcast_to(losses, (1, 3, 3)).copy()
    assert misranked(own, losses).tolist() == [0]
    own[0, 0, 0] = 2.5  # left out, the first was said to lie behind the second
    assert misranked(own, losses).tolist() == [1]


def test_weights_are_shares_of_wins_and_do_not_go_to_poor_tasks() -> None:
    target = np.array([4, 4, 4, 4])
    past_tasks = np.array([[0, 9], [0, 9], [8, 9], [4, 9]])
    assert weights(past_tasks, target).tolist() == [0.5, 0.0, 0.5]
    shared = weights(np.zeros((64, 3), dtype=int), np.ones(64, dtype=int))
    assert shared.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0.0])
    assert weights(np.zeros((64, 3), dtype=int), np.zeros(64, dtype=int)).tolist() == [0.0, 0.0, 0.0, 1.0]
    lucky = np.array([[0], [9], [9], [9]])  # its median is above all of the target's
    assert weights(lucky, target).tolist() == [0.0, 1.0]


def test_more_tasks_than_points_have_room() -> None:
    losses = np.random.default_rng(0).random((5000, LARGEST + 100))
    group = Group(tuple({"x": i} for i in range(5000)), losses, tuple(range(LARGEST + 100)))
    assert LARGEST / 2 < len(_thinned(group, np.random.default_rng(0)).points) <= LARGEST
    losses = np.random.default_rng(0).random((5000, 4000))
    group = Group(tuple({"x": i} for i in range(5000)), losses, tuple(range(4000)))
    assert len(_thinned(group, np.random.default_rng(0)).points) == LARGEST


@pytest.mark.parametrize("shared", [True, False])
def test_past_functions_keep_the_contract_of_sources(shared: bool) -> None:
    source, unit = functions(past(shared))
    assert unit > 0
    check_source(source)
    episode = replace(source, sampling=Sampling(ways=1, shots=6, queries=9)).episodes("train", torch.arange(40))
    least = torch.where(episode.support.mask[..., None], episode.support.y, torch.inf).amin(dim=1)
    assert torch.allclose(least, torch.zeros(40, 1), atol=1e-6)  # losses are over the best that is read
    together = torch.cat([episode.support.x, episode.query.x], dim=1)
    assert all(len(torch.unique(one, dim=0)) == 15 for one in together)  # nothing is asked that was read


def test_a_network_that_is_kept_is_trained_once(tmp_path: Path) -> None:
    options = {"iterations": 3, "width": 8, "layers": 1, "run": str(tmp_path / "run")}
    proposals = []
    for _ in range(2):
        search = warm.Search(SPACE, past(), strategies.part("meta", **options))
        search.tell(GRID[0], 1.0)
        proposals.append(search.propose())
        stamp = (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns
        proposals.append({"stamp": stamp})
    assert proposals[:2] == proposals[2:]
    with pytest.raises(DataError, match="other experience"):
        warm.Search(SPACE, past(False), strategies.part("meta", **options)).propose()
    for other in ({"iterations": 4}, {"width": 12}, {"layers": 2}):
        with pytest.raises(ConfigError, match="iterations=3, width=8, layers=1, and "):
            warm.Search(SPACE, past(), strategies.part("meta", **options | other)).propose()
    warm.Search(SPACE, past(), strategies.part("meta", **options), seed=5).propose()  # it may be kept for any


def test_a_network_whose_training_was_stopped_is_trained_anew(tmp_path: Path) -> None:
    options = {"iterations": 3, "width": 8, "layers": 1, "run": str(tmp_path / "run")}
    begun = tmp_path / "run.begun"
    source, _ = functions(past())
    train(config(9, 16, 1, len(source.x), 0), out=begun, source=source, quiet=True)  # with other options, and stopped
    (begun / "model.safetensors").unlink()
    search = warm.Search(SPACE, past(), strategies.part("meta", **options))
    search.propose()
    assert search._prepared.run.config.iterations == 3
    assert sorted(one.name for one in tmp_path.iterdir()) == ["run"]
    (tmp_path / "run" / "experience.json").unlink()
    with pytest.raises(DataError, match="Remove it if its training was stopped"):
        warm.Search(SPACE, past(), strategies.part("meta", **options)).propose()


def test_bent_losses_keep_their_order() -> None:
    losses = torch.tensor([-3.0, -1.0, 0.0, 0.5, 2.0, 99.0])
    bends = bent(losses, torch.tensor(0.0), torch.tensor(1.0))
    assert (bends.diff() > 0).all()
    assert bends[:3].tolist() == [-3.0, -1.0, 0.0]
    assert float(bends[-1]) == pytest.approx(np.log(100))
