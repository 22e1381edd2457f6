"""Scenarios of ASlib: what is written is read, real ones as well, and what is broken is named."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from select_scenarios import made_up, write

from quickstudy.errors import ConfigError, DataError
from quickstudy.select import Scenario, read_scenario
from quickstudy.select.arff import read_arff

pytest.importorskip("yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(made_up(), tmp_path / "MADE-UP")


def same(one: Scenario, other: Scenario) -> None:
    for name in ("name", "instances", "algorithms", "features", "cutoff", "steps"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("x", "finished", "costs", "folds"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(one.penalised(), other.penalised())


def test_a_folder_and_its_zip_file_are_read_as_they_were_written(folder: Path, tmp_path: Path) -> None:
    same(read_scenario(folder), made_up())
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "MADE-UP")
    same(read_scenario(packed), made_up())


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_repeated_runs_count_by_their_median_and_most_common_status(folder: Path) -> None:
    runs = folder / "algorithm_runs.arff"
    known = made_up()
    where = int(np.flatnonzero(known.finished[:, 0])[0])
    name = known.instances[where]
    runs.write_text(runs.read_text() + f"'{name}',2,left,9,ok\n'{name}',3,left,90,ok\n'{name}',2,right,1,ok\n")
    found = read_scenario(folder)
    expected = np.median([known.times[where, 0], 9, 90])
    assert found.times[where, 0] == expected and found.finished[where, 0]


def test_a_run_that_did_not_end_well_is_not_finished_whatever_its_time(folder: Path) -> None:
    known = made_up()
    row = int(np.flatnonzero(known.finished[:, 0])[0])
    line = f"'{known.instances[row]}',1,left,{float(known.times[row, 0])!r},"
    edit(folder / "algorithm_runs.arff", line + "ok", line + "memout")
    found = read_scenario(folder)
    assert not found.finished[row, 0] and found.penalised()[row, 0] == 1000


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("algorithm_runs.arff", ",ok\n", ",ok,3\n", r"algorithm_runs.arff in .*, line 10: 6 values, expected 5"),
        ("algorithm_runs.arff", "@ATTRIBUTE runtime NUMERIC", "@ATTRIBUTE time NUMERIC", "no column 'runtime'"),
        (
            "algorithm_runs.arff",
            "@ATTRIBUTE runtime NUMERIC",
            "@ATTRIBUTE runtime DATE",
            r"line 7: .*should be @attribute",
        ),
        ("feature_values.arff", ",1,", ",1,nan", "'size' is 'nan.*expected a finite number"),
        ("feature_costs.arff", "second", "third", "no costs of the feature steps second"),
        ("cv.arff", "5.0", "0", "the fold is 0.0, expected 1, 2"),
        ("description.txt", "algorithm_cutoff_time: 100.0", "algorithm_cutoff_time: '?'", "expected seconds"),
        ("description.txt", "- runtime", "- beauty", "measures 'beauty'"),
        ("description.txt", "maximize:\n- false", "maximize:\n- true", "are to be large"),
        ("description.txt", "scenario_id: MADE-UP", "scenario_id: [", "is no YAML"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(folder: Path, file: str, old: str, new: str, said: str) -> None:
    edit(folder / file, old, new)
    with pytest.raises(DataError, match=said):
        read_scenario(folder)


def test_lost_runs_are_named(folder: Path) -> None:
    path = folder / "algorithm_runs.arff"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "no. 003',1,left" not in line))
    with pytest.raises(DataError, match="lacks 1 runs: left on instance, no. 003"):
        read_scenario(folder)


@pytest.mark.parametrize("name", ["description.txt", "algorithm_runs.arff", "feature_values.arff"])
def test_what_is_needed_must_be_there(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=name):
        read_scenario(folder)


def test_without_costs_and_folds_it_says_what_it_takes(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "feature_costs.arff").unlink()
    (folder / "cv.arff").unlink()
    found = read_scenario(folder)
    assert not found.cost.any() and sorted(np.bincount(found.folds)[1:]) == [6] * 10
    assert "cost nothing" in caplog.text and "ten folds are drawn" in caplog.text
    np.testing.assert_array_equal(found.folds, read_scenario(folder).folds)


def test_instances_without_features_are_told_of(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = folder / "feature_values.arff"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "no. 003" not in line))
    found = read_scenario(folder)
    assert [found.instances[i] for i in np.flatnonzero(found.blind)] == ["instance, no. 003"]
    assert "says nothing of 1 instances (instance, no. 003)" in caplog.text


def test_steps_bring_those_that_they_require() -> None:
    scenario = made_up()
    assert scenario.told_by(["second"]).features == ("size", "depth", "noise")
    first = scenario.told_by(["first"])
    assert first.features == ("size", "depth") and set(first.cost) == {0.5} and set(scenario.cost) == {0.75}
    with pytest.raises(ConfigError, match="feature step of MADE-UP called 'frist'. Did you mean 'first'"):
        scenario.told_by(["frist"])


def test_quotation_marks_comments_and_cases_of_arff() -> None:
    text = "@Relation x\n%\n@ATTRIBUTE 'a name' string\n@attribute b REAL\n@attribute c {x, 'y z'}\n@DATA\n"
    table = read_arff(text + r"""'it\'s, here', 1e3 ,"y z" """ + "\n?,?,x\n%5\n", "t")
    assert table.names == ("a name", "b", "c")
    assert table.rows == [["it's, here", "1e3", "y z"], [None, None, "x"]]
    np.testing.assert_array_equal(table.numbers("B"), [1000, np.nan])
    for wrong, said in (("'a, 1, x", "not closed"), ("{1 2}", "leave out zeros"), ("'a' b, 1, x", "not closed, or")):
        with pytest.raises(DataError, match=f"line 7: .*{said}"):
            read_arff(text + wrong, "t")
    with pytest.raises(DataError, match="no @data"):
        read_arff("@attribute a numeric", "t")


@pytest.mark.parametrize("name", ["CSP-Minizinc-Time-2016", "SAT11-HAND"])
def test_published_scenarios_are_read(name: str) -> None:
    path = Path(os.environ.get("QUICKSTUDY_DATA", "")) / "selection" / "aslib" / f"{name}.zip"
    if not path.exists():
        pytest.skip("needs the published scenarios, under $QUICKSTUDY_DATA")
    found = read_scenario(path)
    assert (found.name, len(found.instances), len(found.algorithms)) in [
        ("CSP-Minizinc-Time-2016", 100, 20),
        ("SAT11-HAND", 296, 15),
    ]
    assert set(found.folds) == {*range(1, 11)}
    assert {feature for step in found.steps.values() for feature in step.provides} == {*found.features}
