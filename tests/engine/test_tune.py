"""The engine finds its plan by measuring, says so, and gives the same gradients all the while."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_tasks import IMAGES, VECTORS, convolutional, episodes, generator, perceptron, random_params

from quickstudy.engine import Engine, Plan, Tuner
from quickstudy.engine.compile import Captured, CompileError
from quickstudy.engine.tune import candidates, compilable
from quickstudy.learners import maml, protonet

CPU = torch.device("cpu")


def problem(**options: Any) -> tuple[Any, Any, Any]:
    learner = maml(perceptron(VECTORS, 3), VECTORS, lr=0.1, **options)
    return learner, random_params(learner.init(generator())), episodes(VECTORS)


def slowed(monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> None:
    """A clock for the tuner on which a meta-gradient takes the time given for its plan."""
    clock = [0.0]
    plain = Engine.gradients

    def timed(self: Engine, *arguments: Any) -> Any:
        clock[0] += seconds[str(self.plan)]
        return plain(self, *arguments)

    monkeypatch.setattr(Engine, "gradients", timed)
    monkeypatch.setattr(Tuner, "_now", lambda self: clock[0])


def test_candidates_are_what_the_user_left_open() -> None:
    convolution = maml(convolutional(3), IMAGES, norm="batch")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert candidates(Engine(convolution, CPU), 8) == [Plan("loop"), Plan("vmap"), Plan("loop", workers=2)]
        assert candidates(Engine(convolution, CPU, "loop"), 8) == [Plan("loop"), Plan("loop", workers=2)]
        assert candidates(Engine(convolution, CPU, "vmap"), 8) == [Plan("vmap")]
        assert candidates(Engine(convolution, CPU), 1) == [Plan("loop")]
    finally:
        torch.set_num_threads(threads)
    learner, _, _ = problem()
    assert candidates(Engine(learner, CPU), 8) == [Plan("vmap")]
    both = candidates(Engine(learner, CPU, metagrad="recompute"), 8)
    assert both == [Plan("vmap"), Plan("vmap", order="forward")]
    fixed = Engine(learner, CPU, metagrad="recompute", metagrad_options={"order": "forward"})
    assert len(candidates(fixed, 8)) == 1


def test_the_fastest_plan_is_kept_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, params, batch = problem(steps=2)
    said: list[str] = []
    engine = Engine(learner, CPU, metagrad="recompute")
    exact = Engine(learner, CPU).gradients(params, batch)
    slowed(monkeypatch, {"vmap": 1.0, "vmap, forward over reverse": 0.5})
    tuner = Tuner(engine, "off", said.append)
    for left in range(100, 90, -1):
        found = tuner.gradients(params, batch, None, left)
        for name, grad in exact[0].items():
            torch.testing.assert_close(found[0][name], grad)
    assert tuner.engine.plan == Plan("vmap", order="forward")
    assert said == ["vmap, forward over reverse is fastest (6 tasks/s)"]


def test_a_machine_that_becomes_busy_leaves_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, params, batch = problem(steps=2)
    tuner, took = Tuner(Engine(learner, CPU, metagrad="recompute"), "off"), iter([1.0, 1.1, 1.0, 1.1, *[900.0] * 90])
    monkeypatch.setattr(Tuner, "_paced", lambda self, engine, arguments: next(took))
    plans = [Plan("vmap"), Plan("vmap", order="forward")]
    assert tuner._fastest(plans, (params, batch, None))[0] in plans


def test_short_runs_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, params, batch = problem()
    engine = Engine(learner, CPU, metagrad="recompute")
    slowed(monkeypatch, {"vmap": 0.001})  # any other plan would be a KeyError
    tuner = Tuner(engine)
    for left in range(20, 0, -1):
        tuner.gradients(params, batch, None, left)
    assert tuner.decided


def test_compiling_is_kept_only_if_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, params, batch = problem()
    monkeypatch.setattr(Engine, "captured", lambda self, name, function: function)  # what it costs is set below
    for factor, kept in ((0.1, True), (2.0, False)):
        with monkeypatch.context() as clock:
            slowed(clock, {"vmap": 1.0, "vmap, compiled": factor})
            said: list[str] = []
            tuner = Tuner(Engine(learner, CPU), "auto", said.append)
            for left in range(10000, 9990, -1):
                tuner.gradients(params, batch, None, left)
        assert (tuner.engine.plan.compiled == "whole") == kept
        assert said[0].startswith("compiling, about ")
        assert said[1] == f"compiled in {factor:.0f} s, " + (
            "10.0 times as fast" if kept else "but 0.50 times as fast: going on with eager code"
        )


def test_what_cannot_be_compiled_goes_on_eagerly_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, params, batch = problem()

    def refuse(self: Engine, name: str, function: Any) -> Any:
        raise CompileError("NoCompiler: there is no C++ compiler")

    monkeypatch.setattr(Engine, "captured", refuse)
    said: list[str] = []
    tuner = Tuner(Engine(learner, CPU), "on", said.append)
    for left in range(5, 0, -1):
        tuner.gradients(params, batch, None, left)
    assert said[1:] == ["not compiled (NoCompiler: there is no C++ compiler); going on with eager code"]
    assert tuner.engine.plan == Plan("vmap")


def test_long_inner_loops_are_compiled_step_by_step() -> None:
    for steps, compiled in ((1, "whole"), (40, "parts")):
        learner, params, batch = problem(steps=steps)
        assert compilable(Engine(learner, CPU), (params, batch, None))[0].compiled == compiled
    embedding = protonet(perceptron(VECTORS, 4), VECTORS)
    arguments = (random_params(embedding.init(generator())), episodes(VECTORS), None)
    assert compilable(Engine(embedding, CPU), arguments)[0] == Plan("vmap", "whole")


@pytest.mark.parametrize("learner", ["maml", "protonet"])
def test_only_inner_loops_through_convolutions_are_compiled_for_less_memory_traffic(
    learner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tasks at once, though eager code runs them one after another; an embedding alone would gain nothing."""
    made: Any = {"maml": maml, "protonet": protonet}[learner](convolutional(3), IMAGES, norm="batch")
    params, batch = random_params(made.init(generator())), episodes(IMAGES)
    monkeypatch.setattr(Engine, "captured", lambda self, name, function: function)
    slowed(monkeypatch, {"one task after another": 10.0, "vmap": 11.0, "vmap, compiled": 8.0})
    tuner = Tuner(Engine(made, CPU), "auto")
    for left in range(20, 10, -1):
        tuner.gradients(params, batch, None, left)
    assert tuner.engine.plan == (Plan("vmap", "whole") if learner == "maml" else Plan("loop"))


def test_one_core_is_kept_where_it_is_faster_and_shares_what_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, params, batch = problem()
    slowed(monkeypatch, {"vmap": 1.0, "vmap, compiled": 0.2, "vmap, compiled, on 1 core": 0.1})
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        tuner = Tuner(Engine(learner, CPU), "on")
        for left in range(5, 0, -1):
            tuner.gradients(params, batch, None, left)
        assert tuner.engine.plan == Plan("vmap", "whole", cores=1)
        seen: list[int] = []
        share = torch.set_num_threads
        monkeypatch.setattr(torch, "set_num_threads", lambda count: (seen.append(count), share(count)))
        monkeypatch.setattr(Captured, "_made", lambda *_: pytest.fail("something was compiled anew"))
        tuner.engine.gradients(params, batch)
        assert seen == [1, 2]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_threads_of_a_loop_use_one_core_each() -> None:
    learner, params, batch = problem()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        engine = Engine(learner, CPU).planned(Plan("loop", workers=2))
        engine.gradients(params, batch)
        torch.set_num_threads(2)
        seen = [engine._threads.submit(torch.get_num_threads).result() for _ in range(4)]
        assert seen == [1, 1, 1, 1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
