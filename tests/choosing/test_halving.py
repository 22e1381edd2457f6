"""Successive halving that never waits, against what its definition says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quickstudy.choosing.advice import advice, gained_by_doubling
from quickstudy.choosing.halving import Halving
from quickstudy.choosing.record import Record, Trial
from quickstudy.errors import CheckpointError
from quickstudy.targets.metric import metric_named


def trial(number: int, rung: int, mean: float, spread: float = 0.3, tasks: int = 50) -> Trial:
    """Values around `mean`: the same deviations for all trials, so that differences are exact."""
    values = mean + spread * np.random.default_rng(0).standard_normal(tasks)
    values += mean - values.mean()
    point = {"learner": "a", "lr": 0.1} if number else {}
    return Trial(number, rung, point, "", 10, 1.0, mean, 0.05, tuple(values.tolist()))


def record(tmp_path: Path, *trials: Trial, higher: bool = True) -> Record:
    return Record(tmp_path, higher, list(trials))


def test_seconds_of_a_rung_are_three_times_those_up_to_the_one_before(tmp_path: Path) -> None:
    halving = Halving(record(tmp_path), 10.0, 3)
    assert [halving.seconds(r) for r in range(3)] == [10.0, 20.0, 60.0]
    assert np.cumsum([halving.seconds(r) for r in range(3)]).tolist() == [10.0, 30.0, 90.0]


def test_the_best_third_goes_on_and_new_ones_begin_otherwise(tmp_path: Path) -> None:
    noisy = [trial(i, 0, 0.5 + 0.001 * i) for i in range(3)]
    halving = Halving(record(tmp_path, *noisy[:2]), 10.0, 2)
    step = halving.next(100.0)
    assert step is not None
    assert (step.trial, step.rung) == (2, 0), "two of three are no third"
    halving = Halving(record(tmp_path, *noisy), 10.0, 2)
    step = halving.next(100.0)
    assert step is not None
    assert (step.trial, step.rung) == (2, 1)
    halving.running.add((2, 1))
    step = halving.next(100.0)
    assert step is not None
    assert (step.trial, step.rung) == (3, 0)


def test_lower_is_better_where_the_metric_says_so(tmp_path: Path) -> None:
    there = [trial(i, 0, 0.5 + 0.001 * i) for i in range(3)]
    step = Halving(record(tmp_path, *there, higher=False), 10.0, 2).next(100.0)
    assert step is not None
    assert (step.trial, step.rung) == (0, 1)


def test_nothing_begins_for_which_there_is_no_time(tmp_path: Path) -> None:
    there = [trial(i, 0, 0.5) for i in range(3)]
    halving = Halving(record(tmp_path, *there), 10.0, 2)
    step = halving.next(15.0)
    assert step is not None
    assert step.rung == 0, "20 s do not fit, 10 s do"
    assert halving.next(9.0) is None


def test_what_is_clearly_worse_does_not_go_on(tmp_path: Path) -> None:
    """Of six, the best two thirds-of-rung trials may go on; the second is far behind in the same tasks."""
    there = [trial(0, 0, 0.9), *(trial(i, 0, 0.3 - 0.01 * i) for i in range(1, 6))]
    halving = Halving(record(tmp_path, *there), 10.0, 2, {(0, 1)})
    step = halving.next(100.0)
    assert step is not None
    assert (step.trial, step.rung) == (6, 0)


def test_paired_differences_are_surer_than_their_means(tmp_path: Path) -> None:
    """Two trials that differ by 0.02 in every task, whose own values spread by 0.3."""
    gain, half = trial(1, 0, 0.52).ahead_of(trial(2, 0, 0.50), 1.0)
    assert gain == pytest.approx(0.02)
    assert half < 1e-9
    gain, _ = trial(1, 0, 0.52).ahead_of(trial(2, 0, 0.50), -1.0)
    assert gain == pytest.approx(-0.02)


def test_a_record_is_read_as_it_was_written_and_a_torn_line_is_dropped(tmp_path: Path) -> None:
    kept = record(tmp_path)
    failed = Trial(1, 0, {"learner": "a", "lr": 0.1}, "it broke")
    for one in (trial(0, 0, 0.5), failed, trial(0, 1, 0.75)):
        kept.add(one)
    with (tmp_path / "trials.jsonl").open("ab") as file:
        file.write(b'{"trial": 9, "ru')
    again = Record.read(tmp_path, True)
    assert [(t.trial, t.rung) for t in again.trials] == [(0, 0), (1, 0), (0, 1)]
    assert again.trials[0] == kept.trials[0]
    assert again.failed[0].error == "it broke"
    again.add(trial(2, 0, 0.4))
    assert [t.trial for t in Record.read(tmp_path, True).trials] == [0, 1, 0, 2]
    assert [t.trial for t in again.latest] == [0, 2], "each where it came furthest"


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    record(tmp_path).add(trial(0, 0, 0.5))
    with (tmp_path / "trials.jsonl").open("ab") as file:
        file.write(b'{"trial": "first"}\n')
    with pytest.raises(CheckpointError, match="Line 2"):
        Record.read(tmp_path, True)


def test_doubling_brings_what_it_brings(tmp_path: Path) -> None:
    """Of two trials 0 and 1, the best of one of them is 0.5 on average."""
    assert gained_by_doubling(record(tmp_path, trial(0, 0, 0.0), trial(1, 0, 1.0))) == pytest.approx(0.5, abs=0.04)
    same = record(tmp_path, *(trial(i, 0, 0.7) for i in range(8)))
    assert gained_by_doubling(same) == pytest.approx(0.0)
    assert "hardly pay" in advice(same, metric_named("accuracy"))
    assert "too few" in advice(record(tmp_path, trial(0, 0, 0.7)), metric_named("accuracy"))
