"""Workers on Ray: processes are kept, the dead replaced, and Ray is left as it was found. It starts once, slowly."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from jobs import dies_once, sleeps

from quickstudy.errors import ConfigError, MissingExtra
from quickstudy.workers import Workers


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    ray = pytest.importorskip("ray")
    before = signal.getsignal(signal.SIGTERM)
    with Workers("ray", 2) as made:
        yield made
    assert not ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) is before


def shown(x: torch.Tensor) -> tuple[float, int, int]:
    return float(x.sum()), os.getpid(), torch.get_num_threads()


def test_a_cluster_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConfigError, match=r"ConnectionRefusedError.*RAY_ADDRESS"):
            Workers("ray", 2)


def test_processes_are_kept_from_round_to_round_and_have_one_thread(workers: Workers) -> None:
    jobs = [(str(n), (torch.full((3,), float(n)),)) for n in range(6)]
    processes: list[set[int]] = []
    for _ in range(2):
        found = {done.name: done.result for done in workers.outcomes(shown, jobs)}
        results = [result for name in map(str, range(6)) if (result := found[name])]
        assert [total for total, _, _ in results] == [3.0 * n for n in range(6)]
        assert {threads for _, _, threads in results} == {1}
        processes.append({pid for _, pid, _ in results})
    assert os.getpid() not in processes[0] and processes[1] & processes[0]


def test_a_process_that_is_killed_is_replaced(
    workers: Workers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = list(workers.outcomes(dies_once, [(f"job {n}", (n, tmp_path)) for n in range(4)]))
    assert sorted(done.result[0] for done in found if done.result) == [0, 1, 2, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0 0", "1 0", "1 1", "2 0", "3 0"]
    assert "job 1 failed" in caplog.text and "a new one takes its place" in caplog.text


def test_leaving_early_ends_what_runs(workers: Workers, tmp_path: Path) -> None:
    def jobs() -> Iterator[tuple[str, tuple[Path]]]:
        yield "long", (tmp_path,)
        while not ((tmp_path / "pid 1").exists() and (tmp_path / "pid 1").read_text()):
            time.sleep(0.05)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(workers.outcomes(lambda place: sleeps(place, 1), jobs()))
    stat, end = Path("/proc") / (tmp_path / "pid 1").read_text() / "stat", time.monotonic() + 20
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < end, "it goes on"
        time.sleep(0.05)


def test_partition_training_on_ray_gives_what_the_loop_gives(workers: Workers) -> None:
    from small_tasks import classes

    from quickstudy.averaging import Supervised, split, train_parts
    from quickstudy.inner import SGD
    from quickstudy.learners import Network
    from quickstudy.models import mlp

    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(60, 6, generator=drawn, dtype=torch.float64)
    y, spec = (x @ torch.randn(6, 3, generator=drawn, dtype=torch.float64)).argmax(1), classes((6,), 3)
    network = Network(mlp(spec, width=8).double())
    member = Supervised(network, spec, SGD(lr=0.2), x, y, tuple(split(y, 3)), epochs=2)
    params = network.init(drawn)
    there = train_parts(member, params, rounds=2, backend=workers).params
    here = train_parts(member, params, rounds=2, backend="loop").params
    for name, value in here.items():
        torch.testing.assert_close(there[name], value, rtol=1e-10, atol=1e-12)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.exceptions", None)
    with pytest.raises(MissingExtra, match=r"quickstudy\[cluster\]"):
        Workers("ray", 2)
