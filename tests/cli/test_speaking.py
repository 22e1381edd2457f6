"""Commands speak into any terminal, pipe or file, of names in any script, and say in one line what cannot be."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.registry import learners, models, sources
from quickstudy.runs.train import train
from quickstudy.storage.atomic import write_csv
from quickstudy.terminal import visible

Shell = Callable[..., subprocess.CompletedProcess[bytes]]


def image(value: int) -> Image.Image:
    return Image.fromarray(np.full((8, 8), value, dtype=np.uint8))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on images, and support sets whose classes have names that are hard to print."""
    place = tmp_path_factory.mktemp("home")
    config = qs.RunConfig(
        name="drawn", tasks=sources.part("glyphs", alphabets=4, characters=5, drawings=3, size=8),
        model=models.part("mlp", width=8), learner=learners.part("protonet"), ways=2, shots=1, queries=2, iterations=1,
        validation_episodes=2, calibration_episodes=1, device="cpu",
    )  # fmt: skip
    train(config, out=place / "run", quiet=True)
    for names, folder in (
        (["screw [old]", "screw [new]", "[red]", "größe 猫", "=1+1"], "support"),
        ([os.fsdecode(b"caf\xe9"), "plain"], "latin"),
    ):
        for value, name in enumerate(names):
            (place / folder / name).mkdir(parents=True)
            image(50 * value).save(place / folder / name / "0.png")
    return place


@pytest.fixture(scope="module")
def shell(home: Path) -> Shell:
    def run(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
        settings = os.environ | {"QS": f"{sys.executable} -m quickstudy", "OMP_NUM_THREADS": "1"} | environment
        return subprocess.run(["bash", "-c", line], cwd=home, env=settings, capture_output=True, timeout=120)

    return run


@pytest.fixture(scope="module")
def model(shell: Shell) -> str:
    done = shell("$QS adapt run --support support --out model")
    assert done.returncode == 0, done.stderr
    return "model"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_answers_survive_any_encoding(encoding: str, shell: Shell, model: str) -> None:
    done = shell(f"$QS predict {model} support", PYTHONIOENCODING=encoding)
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    said = done.stdout.decode(encoding)
    assert "screw [old]" in said and "screw [new]" in said
    assert "\\u732b" in said


def test_names_of_files_that_are_no_text_are_written_out(shell: Shell) -> None:
    done = shell("$QS adapt run --support latin --out made && $QS predict made latin --out made.csv && cat made.csv")
    assert done.returncode == 0, done.stderr
    assert b"caf\\udce9" in done.stdout
    shown = shell("$QS predict made latin")
    assert shown.returncode == 0 and b"caf\\udce9" in shown.stdout


@pytest.mark.parametrize("line", ["$QS list recipes >&-", "$QS list recipes 2>&-", "$QS list recipes >&- 2>&- <&-"])
def test_closed_streams_are_in_nobodys_way(line: str, shell: Shell) -> None:
    done = shell(line)
    assert done.returncode == 0 and b"Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_an_answer_that_cannot_be_written_is_said_in_one_line(shell: Shell) -> None:
    for command in ("list recipes", "--help", "evaluate run --episodes 2"):
        done = shell(f"$QS {command} > /dev/full")
        lines = [line for line in done.stderr.decode().splitlines() if line.startswith("quickstudy")]
        assert done.returncode == 2 and b"Traceback" not in done.stderr, done.stderr
        assert lines == ["quickstudy: the answer could not be written to standard output: No space left on device."]
    done = shell("$QS evaluate run --episodes 2 2> /dev/full")
    assert done.returncode == 0 and b"accuracy" in done.stdout


def test_a_reader_that_has_seen_enough_is_no_mistake(shell: Shell) -> None:
    done = shell("set -o pipefail; $QS list recipes --plain | head -1")
    assert done.returncode == 0 and done.stderr == b""


def test_training_goes_on_where_nobody_can_see_it(shell: Shell) -> None:
    done = shell(
        "$QS train linear-maml --iterations 3 --no-report --out unseen > /dev/null 2> /dev/full; $QS list runs >&-"
    )
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["predict", "model", "pipe.csv"], "is a pipe, not a file"),
        (["predict", "model", "/dev/zero"], "is a device, not a file"),
        (["predict", "piped", "support"], "is a pipe, not a file"),
        (["predict", "model", "broken.png"], "cannot be read as an image"),
        (["adapt", "run", "--support", "no-such", "--out", "m3"], "There is no folder no-such"),
        (["train", "linear-maml", "--name", "[/x]"], "The name of a run is a path"),
        (["train", "linear-maml", "--name", ""], "The name of a run is empty"),
        (["train", "linear-maml", "--model.depth", "1" + "0" * 30], "is a number of 25 hexadecimal digits"),
        (["train", "linear-maml", "--import", "pipe.py"], "is a pipe, not a file"),
        (["evaluate", "run", "--omniglot-runs", "pipe.csv"], "is a pipe, not a file"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    line: list[str],
    said: str,
    home: Path,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(home)
    Path("piped").mkdir(exist_ok=True)
    for pipe in ("pipe.csv", "pipe.py", "piped/model.safetensors"):
        if not Path(pipe).exists():
            os.mkfifo(pipe)
    Path("broken.png").write_bytes(b"%PDF")
    assert main(line) == 2
    error = capfd.readouterr().err
    assert said in error and len(error.splitlines()) == 1


def test_too_little_memory_is_said_in_one_line(shell: Shell) -> None:
    done = shell("$QS train linear-maml --iterations 1 --model.width 1000000 --no-report")
    assert done.returncode == 2, done.stderr
    assert done.stderr.decode().strip().startswith("quickstudy train: There is not enough memory for this.")


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="there is no setpriv(1), by which root obeys permissions")
def test_folders_without_permission_are_named(home: Path, shell: Shell, model: str) -> None:
    (home / "locked" / "a").mkdir(parents=True)
    (home / "locked").chmod(0)
    obeying = "setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-dac_override,-dac_read_search"
    obeying = obeying if os.getuid() == 0 else ""
    if shell(f"{obeying} true").returncode:
        (home / "locked").chmod(0o700)
        pytest.skip("root cannot be made to obey permissions here")
    try:
        for command in ("predict model locked", "adapt run --support locked --out m4", "train --resume locked"):
            done = shell(f"{obeying} $QS {command}")
            assert done.returncode == 2 and b"cannot be used: Permission denied" in done.stderr, done.stderr
    finally:
        (home / "locked").chmod(0o700)


def test_encrypted_and_cut_archives_are_refused(home: Path, shell: Shell) -> None:
    with zipfile.ZipFile(home / "runs.zip", "w") as archive:
        archive.writestr("run01/class_labels.txt", "run01/test/a.png run01/training/b.png\n")
    whole = (home / "runs.zip").read_bytes()
    (home / "cut.zip").write_bytes(whole[: len(whole) // 2])
    locked = bytearray(whole)
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(mark) + at] |= 1  # the flag that a member is encrypted
    (home / "locked.zip").write_bytes(bytes(locked))
    for name, said in (
        ("cut", "not a complete zip archive"),
        ("locked", "is encrypted"),
        ("runs", "is not in the archive"),
    ):
        done = shell(f"$QS evaluate run --omniglot-runs {name}.zip")
        assert done.returncode == 2 and said in done.stderr.decode() and b"Traceback" not in done.stderr, done.stderr


def test_archives_of_huge_drawings_are_not_unpacked(home: Path, shell: Shell) -> None:
    """Sixty drawings of 7000 x 7000 pixels, 17 kB in all, would take gigabytes."""
    Image.new("1", (7000, 7000)).save(home / "huge.png")
    (home / "huge").mkdir()
    with zipfile.ZipFile(home / "huge" / "images_background.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(60):
            archive.write(home / "huge.png", f"images_background/A/character{number // 20:02d}/{number:04d}_01.png")
    shutil.copy(home / "huge" / "images_background.zip", home / "huge" / "images_evaluation.zip")
    done = shell(
        "ulimit -v 4000000; $QS train omniglot-protonet --tasks.root huge --iterations 1 --no-report --tasks.glyphs 0"
    )
    assert done.returncode == 2 and b"more than the limit of 1000000" in done.stderr, done.stderr


def test_cells_are_no_formulas(tmp_path: Path) -> None:
    rows = [("=1+1", -0.5), ("@x", 1.0), (" +1", 2.0), ("-1", 3.0), ("plain", 4.0), ("\t=1", 1e-9)]
    write_csv(tmp_path / "out.csv", ["=name", "value"], rows)
    with (tmp_path / "out.csv").open(newline="") as file:
        read = list(csv.reader(file))
    assert read[0] == ["'=name", "value"]
    assert [row[0] for row in read[1:]] == ["'=1+1", "'@x", "' +1", "'-1", "plain", "'\t=1"]
    assert [float(row[1]) for row in read[1:]] == [row[1] for row in rows]


def test_what_a_terminal_would_obey_is_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert visible("a\x1b[31m\nb\u202e") == "a\\x1b[31m\\nb\\u202e"
    assert main(["evaluate", "no\x1b[31m\nsuch"]) == 2
    assert capsys.readouterr().err.startswith("quickstudy evaluate: There is no run called 'no\\x1b[31m\\nsuch'.")


def test_an_export_of_nothing_names_models_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, files in {"my-model": ["model.safetensors"], "mine": ["config.json", "model.safetensors"]}.items():
        Path(folder).mkdir()
        for name in files:
            (Path(folder) / name).touch()
    assert main(["export", "my-modle"]) == 2
    said = capsys.readouterr().err
    assert "There is no run or adapted model called 'my-modle'. Did you mean 'my-model'?" in said
    known = said.rpartition("Known: ")[2].strip().rstrip(".").split(", ")
    assert {"my-model", "handwriting"} <= set(known) and "mine" not in known


def test_what_minutes_do_not_count_is_said_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = "sinusoid-maml --iterations 1 --validation-episodes 2 --device cpu --minutes 1 --no-report"
    assert main(["train", *options.split()]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Training ends after 1 min 00 s at the latest. That does not count reading the data")
    assert "report" not in lines[0]
