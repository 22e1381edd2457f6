"""read.py stores what the format stores, of anything that people have, and refuses what it refuses."""

from __future__ import annotations

import datetime
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from quickstudy.deploy.export import read
from quickstudy.errors import DataError
from quickstudy.registry import formats


def pictures(count: int, seed: int) -> list[bytes]:
    """PNG files of all sizes, with few colours, so that means of areas lie in the middle between two levels."""
    generator, files = np.random.default_rng(seed), []
    for _ in range(count):
        few, (width, height) = (
            generator.integers(0, 255, (*generator.integers(1, 7, 2), 4)),
            generator.integers(2, 99, 2),
        )
        image = Image.fromarray(few.astype(np.uint8)).resize((int(width), int(height)), Image.Resampling.NEAREST)
        file = io.BytesIO()
        image.convert(str(generator.choice(["L", "RGB", "RGBA", "LA", "1"]))).save(file, "PNG")
        files.append(file.getvalue())
    return files


@pytest.mark.parametrize(
    ("kind", "options"),
    [("image", {"size": 14, "channels": 1, "invert": True}), ("image", {"size": 32}), ("ink", {"size": 28})],
)
def test_pixels_are_the_same_in_every_size(kind: str, options: dict[str, Any]) -> None:
    format, files = formats.make(kind, **options), pictures(120, 3)
    expected = format.store(files).x
    found = read.stored(format.reading({}), [Image.open(io.BytesIO(file)) for file in files])["x"]
    assert [i for i in range(len(files)) if (found[i] != expected[i].numpy()).any()] == []  # type: ignore[index]


ROWS = [
    {"n": float(i), "kind": str(i % 3), "is": i % 2 == 0, "when": f"2024-03-{1 + i:02}"} for i in range(9)
]  # fmt: skip


@pytest.mark.parametrize(
    "cell",
    [{"kind": np.float32(2)}, {"kind": 2}, {"is": np.bool_(True)}, {"is": " TRUE "}, {"n": "1e3"}, {"n": True},
     {"n": np.float32("nan")}, {"when": datetime.datetime(2024, 3, 5, 12)}, {"is": "N/A"}],
)  # fmt: skip
def test_cells_are_coded_alike(cell: dict[str, Any]) -> None:
    format = formats.make("table", mixed=True, categories=("kind",)).learn(ROWS)
    row = {**ROWS[4], **cell}
    expected = format.store([row]).x
    assert read.stored(format.reading({}), [row])["x"].tolist() == expected.tolist()  # type: ignore[union-attr]


def test_a_category_that_was_never_seen_is_told() -> None:
    format = formats.make("table", mixed=True, categories=("kind",)).learn(ROWS)
    row = {**ROWS[4], "kind": "9"}
    with pytest.warns(UserWarning, match="'9' in column 'kind' was never seen"):
        found = read.stored(format.reading({}), [row])["x"]
    assert found.tolist() == format.store([row]).x.tolist()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "cell",
    [
        {"is": 1},
        {"is": 2.0},
        {"is": "yes"},
        {"n": "inf"},
        {"n": 10**400},
        {"n": "many"},
        {"n": 1e30},
        {"when": "20240305"},
    ],
)
def test_cells_that_are_refused_here_are_refused_there(cell: dict[str, Any]) -> None:
    format = formats.make("table", mixed=True).learn(ROWS)
    row = {**ROWS[4], **cell}
    with pytest.raises(DataError):
        format.store([row])
    (name,) = cell
    with pytest.raises(ValueError, match=f"'{name}' is no"):
        read.stored(format.reading({}), [row])


def test_nothing_is_said_of_what_is_no_number_and_no_text(tmp_path: Path) -> None:
    table = formats.make("table", columns=2, names=("a", "b"))
    with pytest.raises(ValueError, match="in row 2"):
        read.stored(table.reading({}), [[1, 2], [1, float("nan")]])
    (tmp_path / "rows.csv").write_text("a,b\n1,nan\n")
    with pytest.raises(ValueError, match="in row 1"):
        read.stored(table.reading({}), tmp_path / "rows.csv")
    with pytest.raises(ValueError, match="in record 1"):
        read.stored(formats.make("array", shape=(2,)).reading({}), [np.array([1.0, np.inf])])
    series = formats.make("series", window=3).reading({})
    with pytest.raises(ValueError, match="in value 2"):
        read.stored(series, [1.0, float("nan"), 2.0])
    with pytest.raises(ValueError, match="2 points"):
        read.stored(series, [1.0])
    pytest.importorskip("tokenizers")
    text = formats.make("text", length=8, vocabulary=300).learn(["one two", "two three"])
    for empty in ("", " \t"):
        with pytest.raises(ValueError, match="gives no token"):
            read.stored(text.reading({}), ["one", empty])


def test_of_a_long_recording_that_is_learned_one_window_counts() -> None:
    format = formats.make("audio", rate=4000, seconds=0.5, mels=0, frame=0.032, hop=0.016, trim=0.0)
    generator = np.random.default_rng(0)
    clips = [
        (generator.normal(0, 0.1, n) * np.hanning(n) ** 4).astype(np.float32) for n in (1000, 2000, 2001, 9000, 7000)
    ]
    clips.append(np.concatenate([np.zeros(5000), clips[0], np.zeros(4000)]).astype(np.float32))
    expected: Any = format.store([(clip, 4000) for clip in clips]).x
    found = read.stored(format.reading({}), [(clip, 4000) for clip in clips], learnt=True)
    assert found["length"].tolist() == expected["length"].tolist()
    assert (found["samples"] == expected["samples"].numpy()).all()
