"""read.py, in a process that cannot import quickstudy, says what the model says of real files."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported_models import learned
from PIL import Image, ImageDraw

from quickstudy.deploy.model import Model
from quickstudy.registry import formats, targets
from quickstudy.spec import TaskSpec

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

CLASSES, NUMBERS = targets.make("classes", ways=2), targets.make("numbers")
_ALONE = """
import sys, json, pickle
sys.modules["quickstudy"] = sys.modules["torch"] = None
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from read import Model, stored
model = Model()
for given in json.loads(sys.stdin.read()):
    records = [Path(one) if isinstance(one, str) and Path(one).exists() else one for one in given["records"]]
    records = records[0] if given.get("one") else records
    more = {"steps": given["steps"]} if "steps" in given else {}
    print(json.dumps({"answers": model.predict(records, **more),
                      "stored": {k: v.tolist() for k, v in stored(model.facts["reading"], records).items()}}))
"""


def asked(folder: Path, *questions: dict[str, Any]) -> list[dict[str, Any]]:
    """What read.py says, and what it stores, of each of some lots of records."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", _ALONE, str(folder)],
        input=json.dumps(questions), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def same(model: Model, folder: Path, records: list[Any], close: float = 1e-5) -> None:
    """The reader's answers are the model's."""
    (found,) = asked(folder, {"records": [str(r) if isinstance(r, Path) else r for r in records]})
    answer = model.predict(records)
    said = [[one["probabilities"][name] for name in model.names] for one in found["answers"]]
    assert torch.allclose(torch.tensor(said), answer.probabilities, atol=close)


def pictures(folder: Path) -> list[Path]:
    """Files of odd sizes, with palettes, transparency, 16 bits and turned cameras."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    smooth = Image.fromarray(generator.integers(0, 255, (7, 9, 3), dtype=np.uint8)).resize(
        (151, 97), Image.Resampling.BICUBIC
    )
    see_through = smooth.convert("RGBA")
    ImageDraw.Draw(see_through).ellipse((20, 10, 90, 80), fill=(200, 10, 10, 90))
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray((np.linspace(0, 65535, 60 * 33).reshape(33, 60)).astype(np.uint16))
    saved: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (smooth, "plain.png", {}), (smooth.resize((1200, 700)), "large.jpg", {"exif": exif}),
        (smooth.crop((0, 0, 5, 3)), "tiny.bmp", {}), (smooth.quantize(17), "palette.gif", {}),
        (see_through, "clear.png", {}),
        (smooth.convert("LA"), "grey.png", {}),
        (deep, "deep.png", {}), (smooth.convert("1"), "two.png", {}), (smooth.resize((16, 16)), "exact.png", {}),
        (smooth.resize((5, 90)), "thin.webp", {"lossless": True}),
    ]  # fmt: skip
    paths = [folder / name for _, name, _ in saved]
    for (image, _, how), path in zip(saved, paths, strict=True):
        image.save(path, **how)
    return paths


def drawings(folder: Path, count: int = 6) -> list[Path]:
    """Strokes of any size, dark on light and light on dark, and on nothing."""
    folder.mkdir()
    generator, paths = np.random.default_rng(1), []
    for i in range(count):
        size = [(105, 105), (400, 300), (28, 28), (64, 90)][i % 4]
        dark = i % 3 == 1
        image = Image.new("L" if i % 3 < 2 else "LA", size, (0 if dark else 255) if i % 3 < 2 else (0, 0))
        points = [tuple(p) for p in generator.uniform(0.2, 0.7, (5, 2)) * size]
        ImageDraw.Draw(image).line(
            points, fill=(255 if dark else 0) if i % 3 < 2 else (0, 255), width=1 + size[0] // 30
        )
        paths.append(folder / f"{i}.png")
        image.save(paths[-1])
    return paths


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_read_to_the_bit(tmp_path: Path, channels: int) -> None:
    spec = TaskSpec(formats.make("image", size=16, channels=channels, invert=channels == 1), CLASSES)
    files = pictures(tmp_path / "files")
    model = learned("protonet", spec, files, ["a", "b"] * 5, width=8)
    folder = model.export(tmp_path / "out")
    same(model, folder, files)
    (found,) = asked(folder, {"records": [str(path) for path in files]})
    assert found["stored"]["x"] == spec.format.store(files).x.tolist()  # type: ignore[union-attr]


def test_drawings_are_cut_to_their_ink(tmp_path: Path) -> None:
    spec = TaskSpec(formats.make("ink", size=20), CLASSES)
    files = drawings(tmp_path / "files", 8)
    model = learned("protonet", spec, files, ["a", "b"] * 4, width=8)
    folder = model.export(tmp_path / "out")
    same(model, folder, files)
    (found,) = asked(folder, {"records": [str(path) for path in files]})
    assert found["stored"]["x"] == spec.format.store(files).x.tolist()  # type: ignore[union-attr]
    printed = subprocess.run(
        [sys.executable, str(folder / "read.py"), str(files[0])], capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(printed.split("\t")[1])["label"] == model.predict(files[:1])[0][0]


def test_texts_in_any_script(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    texts = [
        "Der Zug fährt um acht.",
        "今天天气很好",
        "the ﬁne print",
        "  spaces   and\ttabs ",
        "Ω and more words " * 9,
        "é e\u0301",
    ]
    format = formats.make("text", length=12, vocabulary=300).learn(texts * 2)
    model = learned(
        "protonet", TaskSpec(format, CLASSES), texts, ["a", "b"] * 3, model="ngrams", size=64, weights=512, width=8
    )
    same(model, model.export(tmp_path / "out"), texts)


def test_rows_of_several_kinds(tmp_path: Path) -> None:
    rows = [
        {"n": float(i), "kind": "xyz"[i % 3], "is": i % 2 == 0, "when": f"2024-03-{1 + i:02}",
         "gap": None if i % 4 else 0.5 * i}
        for i in range(12)
    ]  # fmt: skip
    format = formats.make("table", mixed=True).learn(rows)
    model = learned("protonet", TaskSpec(format, CLASSES), rows, ["a", "b"] * 6, model="cells")
    folder = model.export(tmp_path / "out")
    same(model, folder, [*rows, {**rows[0], "kind": "never seen"}])
    path = tmp_path / "rows.csv"
    path.write_text("n,kind,is,when,gap\n1.5,y,true,2024-03-04,\n,NA,False,2024-03-01T12:00,2\n")
    (found,) = asked(folder, {"records": [str(path)], "one": True})
    said = torch.tensor([list(one["probabilities"].values()) for one in found["answers"]])
    assert torch.allclose(said, model.predict(path).probabilities, atol=1e-5)


def test_a_series_goes_on(tmp_path: Path) -> None:
    values = [1000 + 20 * math.sin(i / 3) + i for i in range(40)]
    model = learned(
        "maml",
        TaskSpec(formats.make("series", window=8), NUMBERS),
        values,
        model="lstm",
        options={"lr": 0.01, "steps": 2},
        width=8,
    )
    folder = model.export(tmp_path / "out")
    long, short = asked(folder, *({"records": v, "steps": 5} for v in (values, values[:3])))
    for found, seen in ((long, values), (short, values[:3])):
        said = [one["value"] for one in found["answers"]]
        assert said == pytest.approx(model.predict(seen, steps=5).values.flatten().tolist(), rel=1e-6)


def test_recordings_of_other_rates_and_lengths(tmp_path: Path) -> None:
    pytest.importorskip("soundfile")
    pytest.importorskip("soxr")
    files = []
    for i, (rate, seconds, channels) in enumerate([(4000, 0.5, 1), (8000, 0.3, 2), (4000, 1.7, 1), (11025, 0.9, 1)]):
        time = np.arange(int(rate * seconds)) / rate
        wave_ = 0.4 * np.sin(2 * np.pi * (200 + 150 * i) * time) * np.exp(-2 * time)
        files.append(tmp_path / f"{i}.wav")
        with wave.open(str(files[-1]), "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes((np.repeat(wave_[:, None], channels, 1) * 32767).astype("<i2").tobytes())
    format = formats.make("audio", rate=4000, seconds=0.5, mels=12, frame=0.032, hop=0.016, trim=30.0)
    model = learned("protonet", TaskSpec(format, CLASSES), files, list("abab"), model="mlp")
    same(model, model.export(tmp_path / "out"), files, 1e-4)
