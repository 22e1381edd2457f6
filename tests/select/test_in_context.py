"""The selector that reads, and the made-up scenarios that its network is trained on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from select_scenarios import made_up

import quickstudy as qs
from quickstudy.errors import ConfigError, DataError
from quickstudy.registry import models, recipes, selectors, sources
from quickstudy.select import Scenario, Selection, fit, in_context
from quickstudy.select.in_context import _telling
from quickstudy.storage.tensors import load_tensors, save_tensors

pytest.importorskip("sklearn")


def test_made_up_scenarios_are_scenarios() -> None:
    """Times end at the cutoff or count ten times, the best differs between instances, and features tell of it."""
    source = sources.make("runtimes", columns=12, algorithms=5).sampled(qs.Sampling(1, 160, 40))
    x, times = source.times("train", torch.arange(24))
    assert x.shape == (24, 200, 12) and times.shape == (24, 200, 5)
    assert bool(((times > 0) & (times <= 1) | (times == 10)).all())
    stopped = (times == 10).float().mean((1, 2))
    assert stopped.min() > 0.0 and stopped.max() < 0.65  # the cutoff is a quantile between .4 and .95
    single, oracle = times.mean(1).min(1).values, times.min(2).values.mean(1)
    assert bool((oracle <= single).all()) and float((oracle / single).median()) < 0.6
    near = torch.cdist(x[:, 160:], x[:, :160]).topk(8, largest=False).indices  # the choice of the nearest instances
    known = times[:, :160].gather(1, near.flatten(1)[..., None].expand(-1, -1, 5)).reshape(24, 40, 8, 5).mean(2)
    reached = times[:, 160:].gather(2, known.argmin(2, keepdim=True)).mean((1, 2))
    alone = times[:, 160:].gather(2, times[:, :160].mean(1).argmin(1)[:, None, None].expand(-1, 40, 1)).mean((1, 2))
    assert float((reached / alone).median()) < 0.95


def test_a_task_is_what_the_first_algorithm_loses() -> None:
    source = sources.make("runtimes").sampled(qs.Sampling(1, 20, 10))
    episode = source.episodes("val", torch.tensor([3, 8]))
    x, times = source.times("val", torch.tensor([3, 8]))
    lost = times[:, :, :1] - times.mean(2, keepdim=True)
    torch.testing.assert_close(torch.cat([episode.support.y, episode.query.y], 1), lost)
    torch.testing.assert_close(source.episodes("val", torch.tensor([8])).query.x, x[1:, 20:])
    with pytest.raises(ConfigError, match="algorithms must be at least 2"):
        sources.make("runtimes", algorithms=1)
    with pytest.raises(ConfigError, match="columns must lie between 1 and 96"):
        sources.make("runtimes", columns=97)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    config = replace(
        recipes["runtimes"](), tasks=sources.part("runtimes", columns=2), model=models.part("columns"), iterations=2,
        meta_batch=2, validate_every=2, validation_episodes=2, checkpoint_every=2, train_shots=32, min_shots=16,
        average=0.0, schedule="none", schedule_options={}, vectorize="loop",
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("run") / "runtimes"
    qs.train(config, out=folder, quiet=True)
    return str(folder)


def test_it_reads_a_scenario_and_is_stored(run: str, tmp_path: Path) -> None:
    scenario, x = made_up(), made_up(7, seed=2).x
    selection = fit(selectors.part("in-context", run=run), scenario)
    scores = selection.scores(x)
    assert scores.shape == (7, 3) and np.ptp(scores, axis=0).min() > 0
    selection.save(tmp_path / "kept.safetensors")
    np.testing.assert_array_equal(Selection.load(tmp_path / "kept.safetensors").scores(x), scores)
    np.testing.assert_allclose(selection.scores(x[3:5]), scores[3:5], rtol=1e-4, atol=1e-5)  # each is asked alone
    scale, shift = np.array([8.0, 0.25, 1024.0]), np.array([4.0, -2.0, 0.0])
    other = Scenario.of(scenario.x * scale + shift, scenario.times, cutoff=100.0)
    again = fit(selectors.part("in-context", run=run), other).scores(x * scale + shift)
    np.testing.assert_allclose(again, scores, rtol=1e-3, atol=1e-4)
    few = fit(selectors.part("in-context", run=run, most=20), scenario)
    assert few.state["x"].shape == (20, 3) and few.state["taken"].tolist() == [0, 1]


def test_a_stored_selector_refuses_another_network(run: str, tmp_path: Path) -> None:
    folder = tmp_path / "network"
    shutil.copytree(run, folder)
    fit(selectors.part("in-context", run=str(folder)), made_up()).save(tmp_path / "kept.safetensors")
    path = folder / "model.safetensors"
    tensors, meta = load_tensors(path)
    save_tensors(path, {name: value * 1.5 for name, value in tensors.items()}, meta)
    in_context._loaded.cache_clear()
    in_context._network.cache_clear()
    with pytest.raises(DataError, match="another network than that in"):
        Selection.load(tmp_path / "kept.safetensors").scores(made_up(7, seed=2).x)


def test_without_a_run_it_says_how_to_get_one() -> None:
    with pytest.raises(ConfigError, match="quickstudy train runtimes"):
        fit("in-context", made_up())
    assert "in-context" not in list(selectors)  # it cannot be tried as it is


def test_the_features_that_tell_most_are_read() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(200, 6))
    x[:, 4] = 0.0
    lost = np.stack([x[:, 3], -x[:, 3] + 2 * x[:, 1], draw.normal(size=200)], axis=1)
    assert set(_telling(x, lost)[:2].tolist()) == {1, 3} and _telling(x, lost)[-1] == 4
