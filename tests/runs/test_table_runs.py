"""Tables of mixed columns from the command line: a run that was trained on made-up tables, and runs on one's own."""

from __future__ import annotations

import csv
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.errors import DataError
from quickstudy.registry import recipes

TOWNS, QUICK = ("Bonn", "Ulm", "Rom"), {"iterations": 4, "meta_batch": 2, "validation_episodes": 4, "validate_every": 2}


def row(draw: random.Random, machine: int = 0) -> dict[str, object]:
    size, town = draw.uniform(20, 200), draw.choice(TOWNS)
    price = 1000 * size * (1 + TOWNS.index(town)) + machine
    return {
        "id": draw.randrange(10**6), "size": "" if draw.random() < 0.1 else f"{size:.1f}", "town": town,
        "sold": f"2024-0{draw.randrange(1, 9)}-1{draw.randrange(10)}", "garden": draw.choice(("true", "false")),
        "price": f"{price:.0f}", "dear": "yes" if price > 200_000 else "no",
    }  # fmt: skip


def written(path: Path, count: int, without: tuple[str, ...] = (), **told: object) -> Path:
    draw = random.Random(path.name)
    rows = [{**row(draw), **told} for _ in range(count)]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [name for name in rows[0] if name not in without], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name in ("tables", "tables-numbers"):
        config = recipes[name]()
        options = config.learner.options | {"width": 8, "layers": 1, "heads": 2}
        small = replace(
            config, learner=replace(config.learner, options=options), tasks=config.tasks, shots=20, queries=10,
            train_shots=20, min_shots=10, precision="float32", device="cpu", average=0.0, **QUICK,  # type: ignore[arg-type]
        )  # fmt: skip
        qs.train(small, out=folder / name, quiet=True)
    return folder


def test_adapt_and_predict_prices_from_files(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written(Path("train.csv"), 40)
    written(Path("new.csv"), 7, ("price", "dear"))
    run = str(runs / "tables-numbers")
    line = ["adapt", run, "--support", "train.csv", "--target", "price", "--exclude", "id", "dear", "--out", "model"]
    assert main(line) == 0
    assert "from 40 rows" in capsys.readouterr().out
    assert main(["predict", "model", "new.csv", "--out", "said.csv"]) == 0
    with Path("said.csv").open() as file:
        said = list(csv.DictReader(file))
    assert len(said) == 7 and all(1e3 < abs(float(one["value"])) < 1e7 for one in said)
    model = qs.load("model", device="cpu")
    schema = {column.name: column.kind for column in model.spec.format.schema}  # type: ignore[attr-defined]
    assert schema == {"size": "number", "town": "category", "sold": "date", "garden": "boolean"}
    wrong = written(Path("wrong.csv"), 3, ("size",))
    assert main(["predict", "model", str(wrong)]) != 0
    assert "no column 'size'" in capsys.readouterr().err
    assert main(["adapt", run, "--support", "train.csv", "--target", "cost", "--out", "other"]) != 0
    assert "no column 'cost'" in capsys.readouterr().err


def test_frames_files_and_columns_from_python_are_one(runs: Path, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    run = qs.Run(runs / "tables")
    path = written(tmp_path / "train.csv", 30)
    frame = pd.read_csv(path, parse_dates=["sold"])
    told = {"label": "dear", "exclude": ("id", "price")}
    of_file, of_frame = (run.adapt(place, **told) for place in (path, frame))
    of_columns = run.adapt(frame.drop(columns=["id", "price", "dear"]), frame["dear"])
    new = frame.head(5)
    answers = [model.predict(new).probabilities for model in (of_file, of_frame, of_columns)]  # type: ignore[attr-defined]
    for other in answers[1:]:
        torch.testing.assert_close(other, answers[0])
    assert of_file.names == ("no", "yes")
    known = frame["size"].notna()
    assert run.adapt(frame[["size"]][known].to_numpy(), frame["dear"][known]).spec.input_shape == (1, 3)
    with pytest.raises(DataError, match=r"No column of the table \(one\) varies"):
        run.adapt(pd.DataFrame({"one": [1] * 30}), frame["dear"])
    wide = pd.DataFrame(torch.randn(30, 40).numpy(), columns=[f"c{i}" for i in range(40)])
    assert run.adapt(wide, frame["dear"]).spec.input_shape == (40, 3)  # more than it was trained on


def test_small_tables_of_one_s_own_are_tasks_one_file_each(tmp_path: Path) -> None:
    folder = tmp_path / "machines"
    folder.mkdir()
    for i in range(8):
        written(folder / f"m{i}.csv", 24, ("dear",))
    config = recipes["rows-numbers"]()
    tasks = qs.registry.sources.part(
        "table_csv", path=str(folder), label="price", target="numbers", exclude=("id",), categories=("town",)
    )
    run = qs.train(replace(config, tasks=tasks, device="cpu", **QUICK), out=tmp_path / "run", quiet=True)  # type: ignore[arg-type]
    source = run.parts.source
    names = [name for split in ("train", "val", "test") for name in source.classes(split)]
    assert sorted(names) == [f"m{i}" for i in range(8)]
    form = run.spec.format
    assert form.names == ("size", "town", "sold", "garden") and form.mixed  # type: ignore[attr-defined]
    assert run.evaluate(episodes=5, compare_supports=False).episodes == 5
    new = written(tmp_path / "new.csv", 12, ("dear",), town="Wien")
    model = run.adapt(new, label="price")
    answer = model.predict(form.find(new, labelled=False).items)
    assert len(answer) == 12


def test_a_file_of_many_classes_trains_a_run(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    draw = random.Random(0)
    rows = [row(draw) | {"label": f"kind {i % 30}"} for i in range(450)]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    config = recipes["rows"]()
    config = replace(config, tasks=replace(config.tasks, options={"path": str(path), "exclude": ("id",)}))
    run = qs.train(replace(config, device="cpu", **QUICK), out=tmp_path / "run", quiet=True)  # type: ignore[arg-type]
    assert run.spec.input_shape == (6, 3)
    model = run.adapt(rows[:6], list("ababab"))
    model.save(tmp_path / "model")
    again = qs.load(tmp_path / "model", device="cpu").predict(rows[6:9])
    torch.testing.assert_close(again.probabilities, model.predict(rows[6:9]).probabilities)  # type: ignore[attr-defined]
