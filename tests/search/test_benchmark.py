"""On NAS-Bench-201 and HELP's devices, if they are at hand: what the page of studies tells, on a few seeds."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import mean, median

import numpy as np
import pytest

from quickstudy.models.cell_network import BEST
from quickstudy.registry import strategies
from quickstudy.search import counts, point_of
from quickstudy.select import warm
from quickstudy.space import key
from studies import cells_data, devices, nas

needs_data = pytest.mark.skipif(
    not (Path(os.environ.get("QUICKSTUDY_DATA", "nowhere")) / "nas").is_dir(), reason="needs NAS-Bench-201"
)


def test_the_median_by_chance_is_exact() -> None:
    assert nas.by_chance(1, 15_625) == 7813
    assert nas.by_chance(15_625, 15_625) == 1
    rng = np.random.default_rng(0)
    drawn = [int(np.flatnonzero(rng.permutation(200) < 5)[0]) + 1 for _ in range(4000)]
    assert abs(nas.by_chance(5, 200) - median(drawn)) <= 2


def test_ranks_share_what_is_equal() -> None:
    assert devices.ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]
    assert devices.spearman(np.arange(5.0), np.arange(5.0) ** 3) == pytest.approx(1.0)


@needs_data
def test_the_benchmark_is_read_in_the_order_of_the_space() -> None:
    found = cells_data.accuracies()
    assert np.isfinite(found).all()
    best = found[cells_data.PLACE[key(point_of(BEST))]]
    np.testing.assert_allclose(best, [94.3733, 73.22, 46.7111])
    assert best[0] == found[:, 0].max()
    assert int(np.isnan(cells_data.latencies()["raspi4"]).sum()) == 157


@needs_data
@pytest.mark.parametrize(("data", "most"), [(0, 40), (1, 40), (2, 90)])
def test_a_good_cell_is_found_in_a_few_dozen_queries(data: int, most: int) -> None:
    pytest.importorskip("scipy")
    strategy = strategies.part("predicted", start=5).build()
    assert median(nas.queries(strategy, "counts", data, seed, 200) for seed in range(5)) <= most


@needs_data
@pytest.mark.parametrize("data", range(3))
def test_experience_needs_no_more_queries_than_any_other_data_sets_ranking(data: int) -> None:
    needed = nas.queries(cells_data.experienced(), "counts", data, 0, 200)
    rankings = [nas.down(cells_data.accuracies()[:, other], data) for other in range(3) if other != data]
    assert needed <= min(rankings)


@needs_data
def test_a_new_device_is_ranked_from_ten_measurements() -> None:
    rows = devices.devices().sample(10, 0.1)
    found = [devices.predicted(name, rows, 0.1, "ours") for name in devices.VALID]
    assert mean(found) > 0.97


@needs_data
def test_a_search_that_is_stored_finds_a_good_cell_as_the_study_does() -> None:
    pytest.importorskip("scipy")
    column = cells_data.losses()[:, 1]
    best = column.min()
    space = cells_data.SPACE.described(counts)
    for seed in range(2):
        search = warm.Search(space, None, strategies.part("predicted", start=5), seed)
        while column[cells_data.PLACE[key(point := search.propose())]] > best + nas.NEAR / 100:
            search.tell(point, column[cells_data.PLACE[key(point)]])
        assert len(search.trials) < 80
