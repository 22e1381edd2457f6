"""Workers: all places give one result, the dead are replaced, nothing finished is lost, and all can be ended."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs import always_dies, dies_once, raises, sleeps, threads_of, who

from quickstudy.errors import ConfigError, MissingExtra
from quickstudy.workers import Workers


@pytest.fixture(scope="module")
def processes() -> Iterator[Workers]:
    with Workers("processes", 2) as workers:
        yield workers


def named(values: Any) -> list[tuple[str, tuple[Any, ...]]]:
    return [(str(value), (value,)) for value in values]


def wait_for(there: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether a process is no more, or is a zombie, with all its threads, that its parent has yet to read."""
    place = Path(f"/proc/{pid}")
    try:
        ended = place.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return ended and len([*place.joinpath("task").iterdir()]) == 1
    except FileNotFoundError:
        return True


def pids(place: Path, count: int) -> list[int]:
    wait_for(lambda: sum(bool(p.read_text()) for p in place.glob("pid *")) >= count)
    return [int(p.read_text()) for p in place.glob("pid *")]


@pytest.mark.parametrize("where", ["loop", "threads"])
def test_every_place_gives_the_same_results(where: Any, processes: Workers) -> None:
    with Workers(where, 2) as workers:
        here = {done.name: done.result for done in workers.outcomes(who, named(range(5)))}
    there = {done.name: done.result for done in processes.outcomes(who, named(range(5)))}
    assert {name: result and result[0] for name, result in here.items()} == {str(i): i**2 for i in range(5)}
    assert {name: result and result[0] for name, result in there.items()} == {str(i): i**2 for i in range(5)}
    assert {result[1] for result in here.values() if result} == {os.getpid()}
    assert os.getpid() not in {result[1] for result in there.values() if result}


def test_processes_are_kept_and_have_one_thread(processes: Workers) -> None:
    first = {done.result[1] for done in processes.outcomes(who, named(range(8))) if done.result}
    again = {done.result[1] for done in processes.outcomes(who, named(range(8))) if done.result}
    assert len(first | again) <= 2
    shown = list(processes.outcomes(threads_of, [("a", (torch.ones(5),))]))
    assert shown[0].result == (1, 5.0)


def test_threads_have_one_of_pytorchs_each_and_leave_ours_alone() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with Workers("threads", 2) as workers:
            assert {done.result for done in workers.outcomes(threads_of, [("a", (torch.ones(5),))])} == {(1, 5.0)}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_results_come_one_by_one(processes: Workers, tmp_path: Path) -> None:
    """The second result is there while the first job still runs, and leaving the iterator ends that one."""
    outcomes = processes.outcomes(sleeps, [("long", (tmp_path, 1)), ("short", (tmp_path, 0))])
    assert next(outcomes).name == "short"
    pid = next(one for one in pids(tmp_path, 2) if (tmp_path / "pid 1").read_text() == str(one))
    assert not gone(pid)
    outcomes.close()  # type: ignore[attr-defined]
    wait_for(lambda: gone(pid))
    assert [done.result for done in processes.outcomes(raises, named([3]))] == [3]  # the workers go on


@pytest.mark.parametrize("where", ["loop", "threads", "processes"])
def test_jobs_are_drawn_when_a_worker_is_free(where: Any, processes: Workers) -> None:
    """So that what is asked next may depend on what was answered: here, bisection for the root of 200."""
    known: dict[int, int] = {}
    drawn: list[int] = []

    def proposals() -> Iterator[tuple[str, tuple[int]]]:
        low, high = 0, 100
        while high - low > 1:
            middle = (low + high) // 2
            drawn.append(len(known))
            yield str(middle), (middle,)
            if middle in known:  # with several workers the answer may be on its way
                low, high = (middle, high) if known[middle] <= 200 else (low, middle)

    workers = processes if where == "processes" else Workers(where, 1)
    for done in workers.outcomes(who, proposals()):
        assert done.result is not None
        known[int(done.name)] = done.result[0]
    assert known[14] == 196 and known[15] == 225
    assert all(before <= after for before, after in pairwise(drawn)) and drawn[-1] > 0
    if where != "processes":
        assert drawn == list(range(len(drawn)))


def test_a_worker_that_is_killed_is_replaced_and_no_other_job_is_done_twice(
    processes: Workers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = list(processes.outcomes(dies_once, [(f"job {n}", (n, tmp_path)) for n in range(5)]))
    assert sorted(done.result[0] for done in found if done.result) == [0, 1, 2, 3, 4]
    assert found[-1].name == "job 1"  # tried again when the others were done
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0 0", "1 0", "1 1", "2 0", "3 0", "4 0"]
    assert "job 1 failed" in caplog.text and "SIGKILL" in caplog.text and "a new one takes its place" in caplog.text


def test_a_worker_that_is_killed_while_it_waits_is_replaced(
    processes: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    idle = {done.result[1] for done in processes.outcomes(who, named(range(8))) if done.result}
    for pid in idle:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: all(gone(pid) for pid in idle))
    found = {done.name: done.result for done in processes.outcomes(who, named(range(4)), retries=0)}
    assert {name: result and result[0] for name, result in found.items()} == {"0": 0, "1": 1, "2": 4, "3": 9}
    assert not idle & {result[1] for result in found.values() if result}
    assert caplog.text.count("died while it waited") == len(idle) > 0


@pytest.mark.parametrize(("function", "words"), [(always_dies, "exit 7"), (raises, "ValueError: no luck")])
@pytest.mark.parametrize("retries", [0, 2])
def test_retries_end(
    function: Any, words: str, retries: int, processes: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = {done.name: done for done in processes.outcomes(function, named([0, 1, 2]), retries=retries)}
    assert (found["0"].result, found["2"].result, found["1"].result) == (0, 2, None)
    assert words in found["1"].error and not found["0"].error
    assert caplog.text.count(words) == retries + 1
    if function is raises:
        assert "jobs.py, line" in found["1"].error


def test_functions_of_a_script_are_sent_by_value(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            from quickstudy.workers import Workers
            class Scaled:
                def __init__(self, factor): self.factor = factor
                def __call__(self, x): return self.factor * x
            with Workers("processes", 2) as workers:
                print(sorted(done.result for done in workers.outcomes(Scaled(3), [("a", (1,)), ("b", (2,))])))
        """)
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[3, 6]", done.stderr


def test_what_cannot_be_sent_is_said(processes: Workers) -> None:
    with pytest.raises(ConfigError, match="cannot be sent to another process"):
        list(processes.outcomes(raises, [("lock", (threading.Lock(),))]))
    found = list(processes.outcomes(threading.Lock, [("back", ())], retries=0))
    assert "its result cannot be sent back" in found[0].error
    assert [done.result for done in processes.outcomes(raises, named([3]))] == [3]


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'processes'"):
        Workers("process")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="at least 1 worker, found 0"):
        Workers("threads", 0)
    workers = Workers("loop")
    with pytest.raises(ConfigError, match="retries=-1"):
        list(workers.outcomes(raises, named([1]), retries=-1))
    workers.close()
    with pytest.raises(ConfigError, match="are closed"):
        list(workers.outcomes(raises, named([3])))


def test_without_cloudpickle_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with Workers("processes", 1) as workers, pytest.raises(MissingExtra, match=r"quickstudy\[cluster\]"):
        list(workers.outcomes(raises, named([3])))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_a_process_that_is_ended(how: signal.Signals, tmp_path: Path) -> None:
    """By Ctrl-C, which a terminal sends to all processes, and by what nothing can be done against."""
    program = textwrap.dedent(f"""
        import signal, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from jobs import sleeps
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job ignores
        from quickstudy.workers import Workers
        place = Path(sys.argv[1])
        with Workers("processes", 2) as workers:
            for done in workers.outcomes(sleeps, [("a", (place, 1)), ("b", (place, 2)), ("c", (place, 3))]):
                pass
    """)
    main = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    running = pids(tmp_path, 2)
    if how is signal.SIGINT:
        os.killpg(main.pid, how)
    else:
        main.kill()
    _, said = main.communicate(timeout=60)
    wait_for(lambda: all(gone(pid) for pid in running))
    assert main.returncode != 0 and ("KeyboardInterrupt" in said) == (how is signal.SIGINT)
    assert len(list(tmp_path.glob("pid *"))) == 2  # the third was never begun
