from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from made_up import drawing, png
from small_tasks import classes

from quickstudy.errors import DataError
from quickstudy.registry import formats
from quickstudy.spec import check_episode
from quickstudy.tasks import oneshot_runs


def write_runs(path: Path, runs: int = 2, ways: int = 5, top: str = "", change: dict[str, str] | None = None) -> Path:
    """One-shot runs whose test image n of run r is a drawing of training class (3n + r) mod ways."""
    with zipfile.ZipFile(path, "w") as archive:
        for r in range(1, runs + 1):
            run, lines = f"run{r:02d}", []
            for n in range(ways):
                match = (3 * n + r) % ways
                archive.writestr(f"{top}{run}/training/class{n + 1:02d}.png", png(drawing(r, n)))
                archive.writestr(f"{top}{run}/test/item{n + 1:02d}.png", png(drawing(r, match)))
                lines.append(f"{run}/test/item{n + 1:02d}.png {run}/training/class{match + 1:02d}.png")
            archive.writestr(f"{top}{run}/class_labels.txt", (change or {}).get(run, "\n".join(lines) + "\n"))
    return path


@pytest.mark.parametrize("top", ["", "all_runs/"])
def test_oneshot_runs_pair_each_test_image_with_its_training_image(tmp_path: Path, top: str) -> None:
    runs = oneshot_runs(
        write_runs(tmp_path / "runs.zip", top=top), formats.make("image", size=28, channels=1, invert=True)
    )
    assert runs.names == ["run01", "run02"]
    support, query = runs.episodes
    assert support.x.shape == query.x.shape == (2, 5, 1, 28, 28)
    assert support.y.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert query.y.tolist() == [[(3 * n + r) % 5 for n in range(5)] for r in (1, 2)]
    for r in range(2):  # the made-up test image is its training image: the nearest one must be the label
        assert torch.equal(support.x[r, query.y[r]], query.x[r])
    check_episode(runs.episodes, classes((1, 28, 28), 5), tasks=True)


def test_oneshot_runs_say_what_is_wrong(tmp_path: Path) -> None:
    format = formats.make("image", size=28, channels=1, invert=True)
    good = "run02/test/item01.png run02/training/class01.png"
    for lines, message in (
        (f"{good} extra", r"Line 1 of run02/class_labels.txt .* found 3 words"),
        (
            f"{good}\n\nrun02/test/item09.png run02/training/class01.png",
            "Line 3 .*item09.png, which is not in the archive",
        ),
        (f"{good}\nrun02/test/item02.png run02/training/class01.png", "pairs 2 test images with 1 training images"),
        ("", "pairs 0 test images"),
        (good, "equally many classes, found {'run01': 5, 'run02': 1}"),
    ):
        with pytest.raises(DataError, match=message):
            oneshot_runs(write_runs(tmp_path / "runs.zip", change={"run02": lines}), format)
    with pytest.raises(DataError, match="There is no file"):
        oneshot_runs(tmp_path / "none.zip", format)
    (tmp_path / "runs.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="not a complete zip"):
        oneshot_runs(tmp_path / "runs.zip", format)
    with zipfile.ZipFile(tmp_path / "runs.zip", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(DataError, match="holds no 'runNN/class_labels.txt'"):
        oneshot_runs(tmp_path / "runs.zip", format)
