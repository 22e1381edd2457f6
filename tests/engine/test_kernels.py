"""The kernels of a graph are built in as many files as there are processes of the compiler, once for all processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch._inductor import async_compile
from torch._inductor.async_compile import AsyncCompile
from torch._inductor.exc import CppCompileError

from quickstudy.engine.backends.kernels import _Library, built_together
from quickstudy.engine.compile import _TRIED, _builder

CHAIN = """
import torch
from quickstudy.engine.compile import Captured

def chain(x):
    for step, width in enumerate((3, 5, 7, 9)):  # products, and between them elementwise work of different sizes
        x = torch.sin(x @ torch.full((x.shape[1], width), 0.1)) * (step + 1)
    return x, (x > 0).sum(), x.sum(0)

x = torch.linspace(-1, 1, 8).reshape(4, 2)
compiled = Captured(chain)
for given in (x, x + 1):
    found = compiled(given)
    assert not torch.equal(found[0], compiled(given * 2)[0])
    for one, other in zip(found, chain(given), strict=True):
        torch.testing.assert_close(one, other)
print(torch.cat([found[0].flatten(), found[2]]).double().numpy().tobytes().hex())
"""


def run(cache: Path, threads: int) -> tuple[str, set[Path]]:
    """What a new process computed, and the libraries of kernels that lie in the compiler's cache after it."""
    env = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(cache), "TORCHINDUCTOR_COMPILE_THREADS": str(threads)}
    env.pop("TORCHDYNAMO_DISABLE")
    done = subprocess.run([sys.executable, "-c", CHAIN], env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout, set(cache.rglob("*.main.so"))


@pytest.mark.parametrize("threads", [0, 2])
def test_kernels_share_files_and_a_second_process_builds_nothing(tmp_path: Path, threads: int) -> None:
    found, libraries = run(tmp_path, threads)
    assert len(libraries) == max(1, threads)
    kernels = [path.with_suffix(".cpp").read_text().count("PyInit_") for path in libraries]
    assert sum(kernels) >= 4
    assert max(kernels) - min(kernels) <= 1  # the processes have about as much to do
    before = {path: path.stat().st_mtime_ns for path in libraries}
    again, libraries = run(tmp_path, threads)
    assert again == found
    assert {path: path.stat().st_mtime_ns for path in libraries} == before


def test_pytorch_s_own_way_is_back_afterwards() -> None:
    inside, leave, states = threading.Event(), threading.Event(), []

    def first() -> None:
        with built_together():
            inside.set()
            leave.wait(10)
        states.append("out")

    def second() -> None:
        with built_together():
            states.append("in")

    threads = [threading.Thread(target=one) for one in (first, second)]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    assert async_compile.AsyncCompile is not AsyncCompile
    threads[1].join(0.1)
    assert states == []  # the second waits for the first
    leave.set()
    for one in threads:
        one.join(10)
    assert sorted(states) == ["in", "out"]
    with pytest.raises(KeyError), built_together():
        raise KeyError
    assert async_compile.AsyncCompile is AsyncCompile


def test_other_versions_of_pytorch_build_as_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch.__version__.startswith(_TRIED)
    with _builder():
        assert async_compile.AsyncCompile is not AsyncCompile
    monkeypatch.setattr(torch, "__version__", "2.99.0+cpu")
    monkeypatch.setitem(sys.modules, "quickstudy.engine.backends.kernels", None)  # as if it could not be imported there
    with _builder():
        assert async_compile.AsyncCompile is AsyncCompile


def test_what_cannot_be_built_is_not_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    with built_together():
        kernels = async_compile.AsyncCompile()
        pending = kernels.cpp_pybinding(
            ["float*"], '#include <no-such-header.h>\nextern "C" void kernel(float* x) {}\n'
        )
        with pytest.raises(CppCompileError, match="no-such-header"):
            kernels.wait({"kernel": pending})
    assert _Library.cache == {}
