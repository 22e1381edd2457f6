"""Contestants in processes of their own: the same meta-gradient, clear ends, idle while they wait, their own memory."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.contestants import plans
from benchmarks.figures import LENT
from benchmarks.metastep import check, entrants, started, timed
from benchmarks.peers import PEERS, PlainLoop
from benchmarks.problems import META_STEPS, Problem
from benchmarks.remote import Remote, WorkerError, running
from benchmarks.timing import QUICK
from benchmarks.worker import Entrant
from quickstudy.engine import Plan
from quickstudy.engine.compile import CompileError

SINUSOID = replace(META_STEPS["sinusoid-1"][1], tasks=3)
CONV4 = Problem("conv4", 1, 0.1, tasks=2, size=16, width=3)
BY_HAND = Entrant(SINUSOID, PlainLoop.name)

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads what Linux says of processes")


def _stat(pid: int, *fields: int) -> int:
    """The sum of fields of /proc/PID/stat, counted as in proc(5)."""
    found = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(found[field - 3]) for field in fields)


def test_everyone_enters_once_and_with_convolutions_the_peers_in_pytorch_a_second_time_with_our_setting() -> None:
    for problem, lent in ((SINUSOID, []), (CONV4, ["PyTorch by hand", "higher", "torchopt"])):
        chosen = plans(problem)[1]
        found = entrants(problem, chosen)
        assert [one.plan for one in found].count(chosen) == 1
        assert [one.who for one in found if one.lent] == lent
        names = [str(one) for one in found]
        assert len(set(names)) == len(names)
        assert set(names) >= {f"{name}, with our allocator setting" for name in lent} | {"JAX, jit of vmap"}
    assert str(entrants(SINUSOID, replace(chosen, workers=7))[-len(PEERS) - 2]) == "quickstudy, tasks on 7 threads"


@pytest.mark.parametrize("who", [PlainLoop.name, "quickstudy", "JAX, jit of vmap"])
def test_a_process_computes_what_this_process_computes(who: str) -> None:
    if who.startswith("JAX"):
        pytest.importorskip("jax")
        pytest.importorskip("optax")
    problem = SINUSOID if who.startswith("JAX") else CONV4
    entrant = Entrant(problem, who, Plan("loop") if who == "quickstudy" else None)
    here = entrant.contestant()
    assert here.name == str(entrant)
    with running(entrant) as there:
        assert (there.name, there.family) == (here.name, here.family)
        assert check([there], here)[here.name] < 1e-5  # threads add in another order
        assert there.turn(2) > 0
        here.step(), here.step()
        assert check([there], here)[here.name] < 1e-5  # two meta-steps were made there, neither more nor fewer
        _assert_idle(there)


def _assert_idle(one: Remote) -> None:
    before = _stat(one.pid, 14, 15)
    time.sleep(0.5)
    assert _stat(one.pid, 14, 15) - before <= 3  # hundredths of a second, all threads together


def test_the_tuner_chooses_in_a_process() -> None:
    with running(Entrant(replace(CONV4, tasks=1))) as tuner:
        assert isinstance(tuner.choose(), Plan)


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "failed"])
def test_the_end_of_a_process_is_named(kill: bool) -> None:
    with running(BY_HAND) as one:
        if kill:
            os.kill(one.pid, signal.SIGKILL)
        with pytest.raises(WorkerError) as caught:
            one.turn(1) if kill else one._ask("turn often")
    if kill:
        assert "PyTorch by hand was killed by signal 9 at 'turn 1'" in str(caught.value)
    else:
        assert "ended with status 1 at 'turn often'" in str(caught.value)
        assert "ValueError: invalid literal for int() with base 10: 'often'" in str(caught.value)


def test_who_cannot_even_start_is_named() -> None:
    with pytest.raises(WorkerError, match=r"nobody ended with status 1 at 'start'.*KeyError: 'nobody'"):
        running(Entrant(SINUSOID, "nobody")).__enter__()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C raises, also where the tests run in the background of a shell, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_answer_has_a_time_limit_and_interrupting_ends_all_processes() -> None:
    many = replace(BY_HAND, problem=replace(SINUSOID, steps=5))
    with ExitStack() as stack:
        slow, idle = (stack.enter_context(running(many)) for _ in range(2))
        slow._limit = 0.2
        with pytest.raises(WorkerError, match="no answer to 'turn 1000000' within 0.2 s"):
            slow.turn(1_000_000)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt), stack:
            idle.turn(1_000_000)
    assert not any(Path(f"/proc/{one.pid}").exists() for one in (slow, idle))  # nor are they zombies


def test_plans_that_do_not_compile_are_left_out_but_not_the_chosen_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("CXX", "PATH"):
        monkeypatch.setenv(name, str(tmp_path / "none"))  # there is no compiler in the processes
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("TORCHDYNAMO_DISABLE", raising=False)
    compiled, eager = Plan("vmap", compiled="whole"), Plan("vmap")
    with ExitStack() as stack:
        found = started(stack, [Entrant(SINUSOID, plan=plan) for plan in (compiled, eager)] + [BY_HAND])
        assert [one.name for one in found] == ["quickstudy, vmap", PlainLoop.name]
    assert "quickstudy, vmap, compiled: left out, " in capsys.readouterr().err
    monkeypatch.setattr(Remote, "choose", lambda self: compiled)
    monkeypatch.setattr(
        "benchmarks.metastep.entrants", lambda problem, chosen: [Entrant(SINUSOID, plan=chosen), BY_HAND]
    )
    with pytest.raises(CompileError, match="The plan that the tuner chose, vmap, compiled, was left out"):
        timed("sinusoid-1", "sine curves", SINUSOID, QUICK)


def test_memory_is_kept_by_quickstudy_and_where_the_setting_is_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "1073741824")  # what is set around the benchmark is nobody's
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "2147483647")
    large = Problem("conv4", 1, 0.1, tasks=1, size=170, width=16)  # the first layer's activations take 35 MB
    plain = Entrant(large, PlainLoop.name)
    faults = {}
    for entrant in (plain, replace(plain, lent=True), Entrant(large, plan=Plan("loop"))):
        with running(entrant) as one:
            if not one.kept and entrant is not plain:
                pytest.skip("not glibc")
            one.turn(8)  # until the heap has grown
            before = _stat(one.pid, 10)
            one.turn(2)
            faults[one.family] = (_stat(one.pid, 10) - before) // 2
    kept = {family: count < faults["PyTorch"] / 10 for family, count in faults.items()}
    assert kept == {"PyTorch": False, LENT: True, "quickstudy": True}, faults
