"""What strangers put where quickstudy reads or writes: refused in one line, shown as it is, and nothing else lost."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.errors import CheckpointError, ConfigError
from quickstudy.registry import learners, models, sources
from quickstudy.runs.run import Run
from quickstudy.runs.train import resume, train
from quickstudy.storage.tensors import load_tensors, save_tensors
from quickstudy.training.metrics import read_metrics

Refused = Callable[[str], str]
X, Y = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 2.0]]), ["a", "b", "b", "a"]


def config(**changes: object) -> qs.RunConfig:
    plain = qs.RunConfig(
        name="plain", tasks=sources.part("linear"), model=models.part("mlp", width=4, depth=1),
        learner=learners.part("maml", lr=0.1), ways=2, shots=2, queries=2, iterations=4, meta_batch=2, validate_every=2,
        validation_episodes=2, calibration_episodes=1, checkpoint_every=2, log_every=1, device="cpu", compile="off",
        vectorize="loop",
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a run `r` and a model `m` of tables of two columns, and `rows.csv` to predict from."""
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{i % 7},{i % 5},{'abcdefghij'[i % 10]}\n" for i in range(60))
    (tmp_path / "table.csv").write_text(f"u,v,label\n{rows}")
    (tmp_path / "rows.csv").write_text("u,v\n1,2\n")
    tables = config(tasks=sources.part("table_csv", path=str(tmp_path / "table.csv")))
    train(tables, out=tmp_path / "r", quiet=True).adapt(X, Y).save(tmp_path / "m")
    return tmp_path


@pytest.fixture
def refused(here: Path, capfd: pytest.CaptureFixture[str]) -> Refused:
    """What a command line says that ends in one line and status 2."""

    def run(line: str) -> str:
        capfd.readouterr()
        assert main(line.split(" ")) == 2
        error = capfd.readouterr().err
        assert len(error.splitlines()) == 1, error
        return error

    return run


def test_results_replace_results_only(here: Path, refused: Refused) -> None:
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    (here / "notes.txt").write_text("mine")
    for name in ("config.json", "metrics.jsonl", "report.json", "splits.json", "model.safetensors"):
        assert "would be destroyed" in refused(f"evaluate r --episodes 2 --out r/{name}")
    assert "would be destroyed" in refused("predict m rows.csv --out m/model.safetensors")
    assert "no result that could be replaced" in refused("predict m rows.csv --out notes.txt")
    assert {path: path.read_bytes() for path in before} == before
    for _ in range(2):
        assert main(["predict", "m", "rows.csv", "--out", "out.csv"]) == 0
        assert main(["evaluate", "r", "--episodes", "2", "--out", "r/test.json"]) == 0


def test_a_picture_that_is_read_is_not_written_over(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    photos = config(
        tasks=sources.part("glyphs", alphabets=4, characters=5, drawings=3, size=8), shots=1, iterations=1,
        learner=learners.part("protonet"),
    )  # fmt: skip
    for name in "ab":
        (tmp_path / "s" / name).mkdir(parents=True)
        Image.fromarray(np.eye(8, dtype=np.uint8) * 200).save(tmp_path / "s" / name / "0.png")
    run = train(photos, out=tmp_path / "r", quiet=True)
    assert main(["adapt", str(run.folder), "--support", str(tmp_path / "s"), "--out", str(tmp_path / "m")]) == 0
    before = (tmp_path / "s" / "a" / "0.png").read_bytes()
    line = ["predict", str(tmp_path / "m"), str(tmp_path / "s" / "a"), "--out", str(tmp_path / "s" / "a" / "0.png")]
    assert main(line) == 2 and (tmp_path / "s" / "a" / "0.png").read_bytes() == before
    assert "no result that could be replaced" in capfd.readouterr().err


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_numbers_that_are_none_are_refused_in_every_file(value: float, here: Path) -> None:
    checkpoint = "r/checkpoints/step-000000002.safetensors"
    (here / "r" / "checkpoints" / "step-000000004.safetensors").unlink()
    for file, use in (
        ("r/model.safetensors", lambda: Run("r").adapt(X, Y)),
        ("m/model.safetensors", lambda: qs.load("m")),
        (checkpoint, lambda: resume(here / "r", quiet=True)),
    ):
        tensors, meta = load_tensors(here / file)
        name = next(n for n, v in tensors.items() if v.is_floating_point() and v.numel() > 3)
        tensors[name].view(-1)[1] = value
        save_tensors(here / file, tensors, meta)
        with pytest.raises(CheckpointError, match="NaN or infinite"):
            use()


def test_what_a_model_says_is_finite(here: Path) -> None:
    tensors, meta = load_tensors(here / "m" / "model.safetensors")
    name = next(n for n in tensors if n.startswith("task.") and tensors[n].dim() == 2)
    tensors[name].fill_(3e38)
    save_tensors(here / "m" / "model.safetensors", tensors, meta)
    with pytest.raises(qs.QuickstudyError, match="NaN or infinite"):
        qs.load("m").predict(1e6 * X)


def test_settings_that_are_no_object_are_refused(here: Path, refused: Refused) -> None:
    tensors, meta = load_tensors(here / "m" / "model.safetensors")
    save_tensors(here / "m" / "model.safetensors", tensors, meta | {"config": meta["config"] | {"model": 3}})
    assert "'model'" in refused("predict m rows.csv")


def test_headings_and_paths_are_shown_as_they_are(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = "odd\x1b[31m"
    tables = ["--tasks", "table_csv", "--tasks.path", "table.csv", "--ways", "2", "--queries", "2", "--shots", "2"]
    few = ["--iterations", "1", "--validation-episodes", "2", "--no-report"]
    assert main(["train", "linear-maml", *tables, *few, "--out", folder]) == 0
    Run(folder).adapt(X, ["\x1b[2J", "b", "b", "\x1b[2J"]).save(here / "n")
    assert main(["predict", "n", "rows.csv"]) == 0
    assert main(["list", "runs", "--plain"]) == 0
    told = capfd.readouterr()
    assert "\x1b[31m" not in told.out + told.err and "\x1b[2J" not in told.out + told.err
    assert r"odd\x1b[31m" in told.out and r"p(\x1b[2J)" in told.out


@pytest.mark.skipif(os.name != "posix", reason="names of files are bytes on POSIX only")
def test_folders_whose_names_are_no_text_work(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    run = train(config(), out=folder, quiet=True)
    run.adapt(X, Y).save(folder / "m")
    assert set(qs.load(folder / "m").predict(X).names) <= {"a", "b"}  # type: ignore[attr-defined]
    longer = resume(folder, quiet=True, iterations=6)
    assert longer.config.iterations == 6 and longer.metrics[-1]["step"] == 6


def test_large_settings_and_metrics_are_not_read(here: Path, refused: Refused) -> None:
    metrics = here / "r" / "metrics.jsonl"
    whole = read_metrics(here / "r")
    with metrics.open("ab") as file:
        file.write(b"x" * (1 << 20) + b"\n" + b'{"split": "train", "st')
    assert read_metrics(here / "r") == whole
    with metrics.open("ab") as file:
        file.truncate(1 << 33)  # nothing but zeros, which take no room
    with pytest.raises(CheckpointError, match="larger than 256 MiB"):
        read_metrics(here / "r")
    with (here / "r" / "config.json").open("ab") as file:
        file.truncate(1 << 33)
    assert "larger than 16 MiB" in refused("evaluate r")


def test_sizes_that_no_machine_has_are_refused(refused: Refused) -> None:
    for option in ("--train-queries 1048575 --meta-batch 16", "--meta-batch 1000000", "--queries 1048575 --ways 20"):
        assert "16,777,216 are the most" in refused(f"train omniglot-maml-5w1s {option} --iterations 1")
    for device in ("meta", "xla", "vulkan:3"):
        assert "is not a device" in refused(f"evaluate r --device {device}")
        with pytest.raises(ConfigError, match="is not a device"):
            train(config(device=device))


def test_long_things_are_not_quoted_whole(here: Path, refused: Refused) -> None:
    assert len(refused(f"predict {'m' * 100_000} rows.csv")) < 2100


def test_pipes_and_folders_among_checkpoints_are_passed_over(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(here / "r" / "checkpoints" / "step-000000008.safetensors")
    (here / "r" / "checkpoints" / ".step-000000002.safetensors.0123456789abcdef").mkdir()
    assert main(["train", "--resume", "r", "--iterations", "6", "--no-report"]) == 0
    assert "is a pipe, not a file" in capfd.readouterr().err


def test_a_pipe_in_a_bank_is_not_waited_for(here: Path, refused: Refused) -> None:
    assert main(["memory", "build", "bank", "--run", "r", "--count", "2"]) == 0
    os.mkfifo(next((here / "bank").rglob("*.manifest")).with_name("pipe.manifest"))
    assert "is a pipe, not a file" in refused("memory check bank")


def test_numbers_too_large_are_refused_without_further_words(here: Path, refused: Refused) -> None:
    rows = "".join(f"{i},{'1e160' if i == 3 else i},{'abcdef'[i % 6]}\n" for i in range(30))
    (here / "rows.csv").write_text(f"u,v,label\n{rows}")
    line = "train linear-maml --tasks table_csv --tasks.path rows.csv --iterations 1 --ways 2 --no-report"
    told = [line for line in refused_lines(main, line) if line]
    assert len([line for line in told if "numbers as large as" in line]) == 1


def refused_lines(run: Callable[[list[str]], int], line: str) -> list[str]:
    import contextlib
    import io

    heard = io.StringIO()
    with contextlib.redirect_stderr(heard):
        assert run(line.split()) == 2
    assert not re.search("RuntimeWarning|overflow", heard.getvalue()), heard.getvalue()
    return heard.getvalue().splitlines()


def test_a_run_without_its_metrics_is_not_said_to_be_an_average(here: Path, refused: Refused) -> None:
    (here / "r" / "metrics.jsonl").unlink()
    assert "metrics.jsonl is gone" in refused("report r")
    assert json.loads((here / "r" / "config.json").read_text())["name"] == "plain"
