"""What quickstudy does to the process that it runs in: nothing, unless it trains there, and little then."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import linear_run

from quickstudy.engine import Engine
from quickstudy.learners import maml
from quickstudy.models import mlp
from quickstudy.registry import sources
from quickstudy.runs.train import train

# What is changed for a moment only and set back leaves no trace, so that the functions which change it are watched.
PROGRAM = """
import json, logging, os, re, signal, sys
from pathlib import Path
import torch
import torch._dynamo  # PyTorch does so at its first gradient of a function, and it sets a variable of the environment

touched = []

def audit(event, arguments):
    if event in ("os.putenv", "os.unsetenv") or (event == "ctypes.dlsym" and arguments[1] == "mallopt"):
        touched.append(str(arguments[-1 if event == "ctypes.dlsym" else 0]))

def watch(owner, name):
    function = getattr(owner, name)
    def watched(*arguments, **options):
        touched.append(name)
        return function(*arguments, **options)
    setattr(owner, name, watched)

sys.addaudithook(audit)
FLAGS = re.compile("_set_(sdp|math_sdp|cudnn|cublas|mkldnn|onednn|fp32|float32|deterministic|default|blas|linalg)")
for owner, name in [
    (os, "umask"), (signal, "signal"), (torch, "set_num_threads"), (torch, "set_num_interop_threads"),
    (torch.cuda, "set_device"), (logging, "basicConfig"),
    *[(torch._C, name) for name in dir(torch._C) if FLAGS.match(name)],
]:
    watch(owner, name)

def standing():
    return {
        "umask": [line for line in Path("/proc/self/status").read_text().splitlines() if "Umask" in line]
        if Path("/proc/self/status").exists() else None,
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "flags": [
            torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision,
            torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled(),
            torch.backends.cuda.mem_efficient_sdp_enabled(), torch.backends.cudnn.enabled,
            torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic,
            torch.backends.mkldnn.enabled, torch.are_deterministic_algorithms_enabled(),
            torch.get_float32_matmul_precision(), str(torch.get_default_dtype()), torch.is_grad_enabled(),
        ],
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
        "root": [logging.getLogger().level, len(logging.getLogger().handlers)],
        "ours": [logging.getLogger("quickstudy").level, len(logging.getLogger("quickstudy").handlers)],
        "compiler": [logging.getLogger(name).level for name in ("torch._dynamo", "torch._inductor")],
        "environment": dict(os.environ),
        "path": list(sys.path),
    }

folder, before = Path(sys.argv[1]), standing()
import quickstudy as qs
for name in qs.__all__:
    getattr(qs, name)
"""
USE = """
from quickstudy.cli import main
from quickstudy.tasks.base import Sampling
run = qs.Run(folder)
run.evaluate(episodes=2)
run.untrained()
model = run.adapt(torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), ["a", "b", "b"])
model.save(folder / "model")
qs.load(folder / "model").predict(torch.tensor([[0.0, 2.0]]))
qs.report(run)
main(["evaluate", str(folder), "--episodes", "2"])
"""
TRAIN = """
config = qs.Run(folder).config
qs.train(config, out=folder / "other", quiet=True)
"""
TELL = """
print("\\n" + json.dumps({"touched": touched, "before": before, "after": standing()}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(linear_run(), out=tmp_path_factory.mktemp("process") / "run", quiet=True).folder


def told(folder: Path, program: str) -> dict[str, Any]:
    """Which changes a process made that runs the program, and how it was before and after."""
    whole = PROGRAM + program + TELL
    done = subprocess.run([sys.executable, "-c", whole, str(folder)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_evaluating_adapting_and_predicting_leave_the_process_as_it_was(folder: Path) -> None:
    found = told(folder, USE)
    assert found["touched"] == []
    assert found["after"] == found["before"]


def test_training_arranges_memory_and_sets_everything_else_back(folder: Path) -> None:
    found = told(folder, TRAIN)
    assert ("mallopt" in found["touched"]) == (platform.libc_ver()[0] == "glibc")
    assert "umask" not in found["touched"]
    assert found["after"] == found["before"]


def test_tensor_cores_are_for_meta_gradients_and_set_back() -> None:
    def precisions() -> list[str]:
        return [torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision]  # type: ignore[attr-defined]

    spec = sources["linear"]().spec
    engine = Engine(maml(mlp(spec), spec), torch.device("cuda"), precision="tf32")
    before = precisions()
    with engine.autocast():
        assert precisions() == before
    with engine._arithmetic():
        assert precisions() == ["tf32", "tf32"]
    assert precisions() == before
