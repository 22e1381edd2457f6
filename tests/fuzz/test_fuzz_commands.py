"""Whatever is typed: a command does its work, or says in one line why not, and never shows a traceback."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_fuzz_readers import X, Y, config

from quickstudy.cli import COMMANDS, main
from quickstudy.runs.train import train

ODD = [
    "", " ", "-", "--", "-h", "--help", "-1", "0", "1", "3", "nan", "inf", "1e999", "1" + "0" * 30, "x", "None", "True",
    "[/x]",
    "[red]", "../x", "..", ".", "\x1b[31m", "a\nb", "\udcff", "ü", "=1+1", "x" * 5000,
    "{", "[1, 2", "runs/fuzzed", "fuzzed", "model", "rows.csv", "walks.csv", "photos", "pipe", "no-such", "linear-maml",
    "maml",     "mlp", "linear", "s3://", "cpu", "cuda", "mps", "--import", "parts.py", "broken.py",
]  # fmt: skip
OPTIONS = {
    "train": ["--name", "--out", "--device", "--seed", "--lr", "--model", "--learner", "--tasks", "--learner.lr",
              "--ways", "--model.width", "--model.depth", "--optimizer", "--optimizer-options", "--schedule",
              "--shots", "--clip",
              "--tasks.root", "--vectorize", "--precision", "--overwrite", "--resume", "--metagrad"],
    "evaluate": ["--ways", "--shots", "--queries", "--split", "--steps", "--seed", "--device", "--omniglot-runs",
                 "--trust", "--out"],
    "adapt": ["--support", "--out", "--task", "--broken", "--device", "--classes", "--unlabelled", "--shift",
              "--no-trust", "--more", "--without", "--undo", "--if-worse", "--no-keep", "--encoder"],
    "tasks": ["--split", "--episodes", "--step", "--most", "--device"],
    "predict": ["--out", "--steps", "--task", "--broken", "--device", "--coverage", "--reject", "--false-alarms",
                "--background"],
    "score": [
        "--out", "--predictions", "--report", "--coverage", "--false-alarms", "--steps", "--task", "--target",
        "--broken",
    ],
    "serve": ["--host", "--port", "--workers", "--tokens", "--tls", "--cors", "--limits.body", "--limits.queue", "-h"],
    "export": ["--to", "--with-adapt", "--out", "--wasm", "--device"],
    "memory": ["--run", "--out", "--support", "--nearest", "--task", "--merge", "--dry", "--last", "--split"],
    "average": ["--out", "--how", "--weights", "--even-if-worse"],
    "partition": ["--out", "--divide"], "report": ["--device"],
    "select": ["--selectors", "--options", "--keep", "--rows", "--out", "--steps", "--seed"],
    "choose": ["--minutes", "--out", "--where", "--workers", "--strategy", "--bank", "--resume"],
    "search": ["--minutes", "--out", "--under", "--strategy"],
    "reproduce": ["--run", "--out"], "list": ["--plain"], "demo": ["-h"],
}  # fmt: skip
BASES = [
    ["train", "linear-maml", "--iterations", "1", "--validation-episodes", "2", "--no-report"],
    ["train", "linear-maml", "--tasks", "folder", "--tasks.root", "photos", "--iterations", "1", "--no-report"],
    ["train", "--resume", "runs/fuzzed", "--no-report"],
    ["evaluate", "fuzzed", "--episodes", "2"],
    ["adapt", "fuzzed", "--support", "rows.csv", "--out", "made"], ["adapt", "model", "--more", "rows.csv"],
    ["predict", "model", "rows.csv"], ["tasks", "fuzzed", "--episodes", "2"],
    ["score", "model", "rows.csv"], ["export", "fuzzed"], ["export", "model", "--to", "nowhere"],
    ["memory", "list", "bank"], ["memory", "search", "bank", "--support", "photos"], ["memory", "check", "bank"],
    ["average", "fuzzed", "fuzzed", "--out", "averaged"], ["choose", "--resume", "runs/fuzzed"], ["choose", "-h"],
    ["search", "--tasks", "masks"], ["search", "-h"], ["serve", "-h"],
    ["list", "runs"], ["list", "recipes"], ["reproduce"], ["report"], ["partition"], ["demo", "-h"], [],
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a run, a model, tables, photos, a pipe and files to import, as the current one."""
    place, before = tmp_path_factory.mktemp("home"), Path.cwd()
    os.chdir(place)
    run = train(config(), quiet=True)
    run.adapt(X, Y).save("model")
    Path("rows.csv").write_text("a,b,label\n1,2,x\n3,4,y\n")
    Path("walks.csv").write_text("series,value\n" + "".join(f"s,{i}\n" for i in range(9)))
    for name in ("cats", "dogs", "screw [old]", "bats", "rats", "mice", "owls", "hens"):
        Path("photos", name).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.full((8, 8), 40 * i, dtype=np.uint8)).save(Path("photos", name, f"{i}.png"))
    os.mkfifo("pipe")
    Path("parts.py").write_text("")
    Path("broken.py").write_text("raise SystemExit(3)\n")
    yield place
    os.chdir(before)


@contextmanager
def within(seconds: int) -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"nothing after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    words = list(draw(st.sampled_from(BASES)))
    command = words[0] if words else draw(st.sampled_from(sorted(COMMANDS)))
    words = words or [command]
    for _ in range(draw(st.integers(0, 4))):
        odd = draw(st.sampled_from(ODD))
        how = draw(st.sampled_from(["option", "option", "insert", "replace", "drop"]))
        at = draw(st.integers(0, len(words)))
        if how == "option":
            words += [draw(st.sampled_from(OPTIONS[command])), odd]
        elif how == "insert":
            words.insert(at, odd)
        elif how == "replace" and at < len(words) and words[at - 1] != "--iterations":
            words[at] = odd
        elif how == "drop" and at < len(words):
            words.pop(at)
    return words


@given(line=lines())
def test_odd_command_lines(line: list[str], home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if line[:1] in (["demo"], ["reproduce"]) and len(line) < 3 and "-h" not in line:
        return  # these do what they say, for minutes
    if line[:1] in (["choose"], ["search"]) and "linear-maml" in line:
        return
    if line[:1] == ["serve"] and not {"-h", "--help"} & set(line):
        return  # which serves, until it is ended
    torch.manual_seed(0)
    capfd.readouterr()
    with within(10):
        try:
            status = main(line)
        except SystemExit as stopped:  # of the reader of options
            status = stopped.code if isinstance(stopped.code, int) else 1
    told = capfd.readouterr()
    assert status in (0, 2), (status, told.err)
    assert "Traceback" not in told.err
    said = [line for line in told.err.splitlines() if line.startswith("quickstudy ")]
    assert len(said) <= 1 and (not said or told.err.endswith(f"{said[0]}\n")), told.err
