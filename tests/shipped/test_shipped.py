"""Models of the package: there at once, without a network, small, as their cards say; and the rule of the tables."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.errors import ConfigError, DataError
from quickstudy.runs.card import page, read_card
from quickstudy.shipped.places import CLASSES, MODELS, NUMBERS, folder_of, names
from quickstudy.shipped.tables import are_numbers
from quickstudy.storage.json import read_json

ROOT = Path(qs.__file__).parent
LARGEST = 3_000_000
"""Bytes of all models together."""
SHAPES = ("cross", "square", "wedge")


def drawn(shape: str, number: int, dark: bool = True, side: int = 200) -> Image.Image:
    """One drawing of a shape, each elsewhere and in another size."""
    rng = np.random.RandomState(100 * SHAPES.index(shape) + number)
    paper, ink = (255, 0) if dark else (0, 255)
    image = Image.new("L", (side, side), paper)
    size = int(rng.randint(side // 4, side // 2))
    left, top = (int(rng.randint(10, side - size - 10)) for _ in range(2))
    points = {
        "cross": [[(0, 0), (1, 1)], [(1, 0), (0, 1)]],
        "square": [[(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]],
        "wedge": [[(0, 0), (0.5, 1), (1, 0)]],
    }[shape]
    for line in points:
        at = [(left + size * x + rng.uniform(-4, 4), top + size * y + rng.uniform(-4, 4)) for x, y in line]
        ImageDraw.Draw(image).line(at, fill=ink, width=int(rng.randint(2, 12)))
    return image


@pytest.fixture(scope="module")
def frame() -> Any:
    """A made-up table: a price that follows from two columns, and a kind that follows from one."""
    pandas = pytest.importorskip("pandas")
    rng = np.random.RandomState(0)
    size, floor = rng.uniform(20, 150, 90), rng.randint(0, 5, 90)
    return pandas.DataFrame(
        {
            "size": size, "floor": floor, "price": 3000 * size + 20000 * floor + rng.normal(0, 2000, 90),
            "kind": np.where(size > 85, "house", "flat"),
        }
    )  # fmt: skip


def test_all_are_there_and_small() -> None:
    assert names() == ["handwriting", "tables", CLASSES, NUMBERS]
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) <= LARGEST
    for name in names():
        run = qs.pretrained(name, device="cpu")
        assert run.params and run.kept["step"] > 0


@pytest.mark.parametrize("name", ["handwriting", CLASSES, NUMBERS])
def test_what_is_there_names_no_folder_of_a_machine_and_has_a_card(name: str) -> None:
    folder = folder_of(name)
    for file in ("config.json", "card.json", "README.md"):
        text = (folder / file).read_text()
        assert not any(place in text for place in ("/home/", "/tmp/", "/work/", "/root/")), file
    card = read_card(folder)
    assert card is not None and card["licence"] == "MIT" and card["limits"] and card["data"]
    assert page(card) == (folder / "README.md").read_text()
    run = qs.Run(folder, device="cpu")
    assert card["parameters"] == sum(value.numel() for value in run.params.values())
    assert card["training"]["commit"] == run.kept["commit"] and card["training"]["step"] == run.kept["step"]
    own = [one for one in card["figures"] if not one.get("of")]
    others = [one for one in card["figures"] if one.get("of")]
    assert own and others and all(one["count"] >= 100 for one in card["figures"])


def test_cards_say_what_the_study_has_measured() -> None:
    measured = Path(__file__).parents[2] / "studies" / "results" / "shipped.json"
    for name, told in read_json(measured)["models"].items():
        card = read_card(folder_of(name))
        assert card is not None and card["figures"] == told["figures"]
        assert told["bytes"] == (folder_of(name) / "model.safetensors").stat().st_size


def test_a_wheel_of_the_package_holds_them(tmp_path: Path) -> None:
    """The patterns by which the package is built match every file of the models, and nothing else lies there."""
    about = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    patterns = about["tool"]["setuptools"]["package-data"]["quickstudy"]
    packed = {path for pattern in patterns for path in ROOT.glob(pattern)}
    assert {path for path in MODELS.rglob("*") if path.is_file()} <= packed
    for name in ("handwriting", CLASSES, NUMBERS):
        assert {folder_of(name) / file for file in ("config.json", "model.safetensors", "card.json")} <= packed


def test_handwriting_tells_drawings_apart_whatever_the_canvas() -> None:
    run = qs.pretrained("handwriting", device="cpu")
    model = run.adapt([drawn(s, n) for s in SHAPES for n in range(3)], [s for s in SHAPES for _ in range(3)])
    asked = [
        drawn(s, n, dark, side) for s in SHAPES for n in range(10, 20) for dark, side in ((True, 200), (False, 700))
    ]
    wanted = [s for s in SHAPES for _ in range(20)]
    said = [one[0] for one in model.predict(asked)]
    assert np.mean([one == other for one, other in zip(said, wanted, strict=True)]) >= 0.95


def test_tables_tell_numbers_or_classes_as_the_labels_are(frame: Any) -> None:
    run = qs.pretrained("tables", device="cpu")
    seen, asked = frame[:64], frame[64:]
    kind = run.adapt(seen.drop(columns="price"), label="kind")
    assert kind.names == ("flat", "house")
    right = [one[0] == other for one, other in zip(kind.predict(asked), asked["kind"], strict=True)]
    assert np.mean(right) >= 0.9
    price = run.adapt(seen.drop(columns="kind"), label="price")
    assert price.names == ()
    said = np.array([float(one[0]) for one in price.predict(asked)])
    assert np.corrcoef(said, asked["price"])[0, 1] > 0.95
    apart = run.adapt(seen[["size", "floor"]], seen["price"].tolist())
    assert torch.equal(apart.predict(asked[["size", "floor"]]).values, price.predict(asked).values)
    only = qs.pretrained(NUMBERS, device="cpu").adapt(seen.drop(columns="kind"), label="price")
    assert torch.equal(only.predict(asked).values, price.predict(asked).values)


@pytest.mark.parametrize(
    ("labels", "numbers"),
    [
        (["a", "b"], False),
        (["1", "2", "a"], False),
        ([0, 1, 1, 0], False),
        ([1.0, 2.0, 3.0], False),
        (["0", "1"], False),
        ([True, False], False),
        ([1.5, 2.0], True),
        (["1.5", "2"], True),
        (list(range(11)), True),
        ([str(number) for number in range(11)], True),
        (list(range(10)) * 3, False),
        (np.array([1.5, 2.5]), True),
        (torch.tensor([[1.5], [2.5]]), True),
        ([float("nan"), 1.5], True),  # the run for numbers then says which label is missing
        ([], False),
    ],
)
def test_the_rule_by_which_labels_are_numbers(labels: Any, numbers: bool) -> None:
    assert are_numbers(labels, 10) is numbers


def test_names_that_are_none() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'handwriting'"):
        qs.pretrained("handwritng")
    with pytest.raises(ConfigError, match="An encoder is of 'photos' alone"):
        qs.pretrained("tables", encoder="resnet18")


def test_more_classes_than_the_tables_can_tell_are_refused(frame: Any) -> None:
    labels = [f"class {number % 11}" for number in range(64)]
    with pytest.raises((ConfigError, DataError), match="10"):
        qs.pretrained("tables", device="cpu").adapt(frame[["size", "floor"]][:64], labels)


def test_photos_stand_on_an_encoder_that_the_user_has(tmp_path: Path, own_cache: Path) -> None:
    from quickstudy.registry import models

    data = Path(os.environ.get("QUICKSTUDY_DATA", "/nowhere"))
    weights = Path(os.environ.get("QUICKSTUDY_SQUEEZENET") or data.parent / "models" / "squeezenet1_0.safetensors")
    if not weights.exists():
        pytest.skip("set QUICKSTUDY_SQUEEZENET to its weights")
    part = models.part("squeezenet", weights=str(weights))
    run = qs.pretrained("photos", encoder=part, device="cpu")
    rng = np.random.RandomState(0)
    photos = [(rng.uniform(0, 120, (90, 70, 3)) + shade).astype("uint8") for shade in (0, 0, 130, 130)]
    model = run.adapt(photos[::2], ["dark", "light"])
    assert [one[0] for one in model.predict(photos[1::2])] == ["dark", "light"]
    assert qs.pretrained("photos", encoder=part).folder == run.folder and run.folder.is_relative_to(own_cache)


def test_photos_without_an_encoder_say_what_to_do(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = list(own_cache.rglob("config.json"))
    with pytest.raises((ConfigError, ImportError), match=r"quickstudy\[timm\]|an encoder that you have"):
        qs.pretrained("photos")
    with pytest.raises((ConfigError, ImportError), match=r"quickstudy\[timm\]|an encoder that you have"):
        qs.pretrained("photos", encoder="none/such")
    with pytest.raises(ConfigError, match="is the name of a model of timm"):
        qs.pretrained("photos", encoder=3)
    assert list(own_cache.rglob("config.json")) == before


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for shape in SHAPES:
        (tmp_path / "shapes" / shape).mkdir(parents=True)
        for number in range(2):
            drawn(shape, number).save(tmp_path / "shapes" / shape / f"{number}.png")
    drawn("square", 9, dark=False).save(tmp_path / "asked.png")
    assert main(["adapt", "handwriting", "--support", "shapes", "--out", "m", "--device", "cpu"]) == 0
    assert "Learned 3 classes from 6 drawings" in capsys.readouterr().out
    assert main(["predict", "m", "asked.png"]) == 0 and "square" in capsys.readouterr().out
    rows = [f"{i},{i % 7},{3.5 * i + 0.25}" for i in range(40)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,price", *rows, ""]))
    assert main(["adapt", "tables", "--support", "rows.csv", "--target", "price", "--out", "n", "--device", "cpu"]) == 0
    assert "to tell a number" in capsys.readouterr().out
    assert main(["predict", "n", "rows.csv", "--coverage", "0.9", "--out", "prices.csv"]) == 0
    cells = next(csv.DictReader((tmp_path / "prices.csv").open(encoding="utf-8")))
    assert float(cells["low"]) < float(cells["value"]) < float(cells["high"])
    assert main(["predict", "n", "rows.csv", "--reject"]) == 2 and "models of classes" in capsys.readouterr().err
    for number in range(19):
        dots = np.random.RandomState(number).randint(0, 2, (64, 64)).astype(np.uint8)
        (tmp_path / "noise").mkdir(exist_ok=True)
        Image.fromarray(255 * dots).save(tmp_path / "noise" / f"{number}.png")
    assert main(["predict", "m", "asked.png", "noise", "--background", "noise", "--out", "told.csv"]) == 0
    told = (tmp_path / "told.csv").read_text().splitlines()
    assert "accepted" in told[0] and sum(",yes," in line for line in told[2:]) == 0
    assert main(["predict", "m", "asked.png", "--background", "noise", "--false-alarms", "0.04"]) == 2
    assert "needs 24" in capsys.readouterr().err
    assert main(["list", "pretrained"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in names()) and "photos" in told
    assert main(["list", "pretrained", "--plain"]) == 0
    assert capsys.readouterr().out.split() == names()
    assert main(["report", CLASSES]) == 2 and "comes with the package" in capsys.readouterr().err
    assert not (MODELS / CLASSES / "report.html").exists()
    assert main(["adapt", "handwritting", "--support", "shapes", "--out", "k"]) == 2
    assert "handwriting" in capsys.readouterr().err


FIVE = """
import quickstudy as qs
run = qs.pretrained("tables")
model = run.adapt("seen.csv", label="price")
answer = model.predict("asked.csv")
print(answer)
"""


def test_five_lines_to_an_answer_in_a_fresh_process_without_a_network(tmp_path: Path) -> None:
    rows = [f"{i},{'ab'[i % 2]},{3.5 * i + 0.25}" for i in range(40)]
    (tmp_path / "seen.csv").write_text("\n".join(["a,b,price", *rows, ""]))
    (tmp_path / "asked.csv").write_text("a,b\n5.5,a\n20.5,b\n")
    (tmp_path / "sitecustomize.py").write_text(
        "import socket\ndef refuse(*a, **k): raise OSError('no network')\nsocket.socket.connect = refuse\n"
    )
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT.parent)]),
        "OMP_NUM_THREADS": "1",
    }
    began = time.perf_counter()
    line = [sys.executable, "-c", FIVE]
    done = subprocess.run(
        line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    took = time.perf_counter() - began
    assert done.returncode == 0, done.stderr
    assert "±" in done.stdout and took < 30, took
    assert len(FIVE.strip().splitlines()) == 5
