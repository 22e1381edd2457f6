"""An outer step that is part of the meta-gradient's graph is the step that the optimizer takes by itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_tasks import VECTORS, episodes, generator, perceptron, random_params

from quickstudy.engine import Engine, Plan
from quickstudy.engine.compile import CompileError
from quickstudy.episode import map_episode
from quickstudy.learners import maml, r2d2
from quickstudy.registry import learners, models
from quickstudy.training.config import RunConfig
from quickstudy.training.outer import Outer
from quickstudy.training.whole import WholeStep

CPU = torch.device("cpu")


def engine() -> Engine:
    return Engine(maml(perceptron(VECTORS, 3), VECTORS, lr=0.1), CPU).planned(Plan("vmap", "whole"))


def outer_of(engine: Engine, **options: Any) -> tuple[Outer, WholeStep]:
    params = random_params(engine.learner.init(generator()))
    config = RunConfig(name="small", model=models.part("mlp"), learner=learners.part("maml"), lr=0.05, **options)
    outer = Outer(params, config.outer)
    return outer, WholeStep(outer)


def by_itself(engine: Engine, outer: Outer, steps: int) -> None:
    for _ in range(steps):
        grads, _, _ = engine.gradients(outer.params, episodes(VECTORS))
        outer.step(grads, torch.nn.utils.get_total_norm(grads.values()))


CASES: dict[str, dict[str, Any]] = {
    "Adam": {},
    "Adam, clipped, decay in the gradient": {"clip": 0.01, "optimizer_options": {"weight_decay": 0.3, "eps": 1e-6}},
    "Adam, amsgrad": {"optimizer_options": {"amsgrad": True}},
    "AdamW along a cosine, with a moving average": {
        "optimizer": "AdamW", "optimizer_options": {"weight_decay": 0.3}, "schedule": "CosineAnnealingLR",
        "average": 0.9, "iterations": 20,
    },
    "SGD": {"optimizer": "SGD"},
    "SGD with Nesterov's momentum": {"optimizer": "SGD", "optimizer_options": {"momentum": 0.9, "nesterov": True}},
    "RMSprop": {"optimizer": "RMSprop", "optimizer_options": {"momentum": 0.5, "centered": True}},
    "Adadelta": {"optimizer": "Adadelta"},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_optimizer_s_own_step(case: str) -> None:
    one = engine()
    outer, whole = outer_of(one, **CASES[case])
    twin, _ = outer_of(one, **CASES[case])
    by_itself(one, outer, 2)
    by_itself(one, twin, 7)
    for _ in range(5):
        assert whole.fits(one)
        moved = whole(one, episodes(VECTORS))
        outer.move(moved.changes, moved.slots)
    for found, wanted in ((outer.params, twin.params), (outer.average, twin.average), (outer.slots(), twin.slots())):
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)
    assert outer.numbers() == twin.numbers()


@pytest.mark.parametrize("optimizer", ["NAdam", "RAdam", "Adamax", "Adagrad", "ASGD", "Rprop", "Muon"])
def test_optimizers_that_a_graph_cannot_hold_step_by_themselves(optimizer: str) -> None:
    one = engine()
    outer, whole = outer_of(one, optimizer=optimizer)
    by_itself(one, outer, 1)
    assert not whole.fits(one)


def test_the_first_step_and_other_plans_are_the_optimizer_s_own() -> None:
    one = engine()
    outer, whole = outer_of(one)
    assert not whole.fits(one)  # it makes the state
    by_itself(one, outer, 1)
    assert whole.fits(one)
    assert not whole.fits(one.planned(Plan("vmap")))
    assert not whole.fits(one.planned(Plan("loop", "whole")))


def test_options_that_a_schedule_changes_are_not_taken_as_constants() -> None:
    one = engine()
    outer, whole = outer_of(one, schedule="OneCycleLR", iterations=20)  # moves beta1 too
    by_itself(one, outer, 3)
    assert not whole.fits(one)


def test_nothing_moves_before_it_is_told_to() -> None:
    one = engine()
    outer, whole = outer_of(one)
    by_itself(one, outer, 1)
    before = {name: value.clone() for name, value in (outer.params | outer.slots()).items()}
    moved = whole(one, episodes(VECTORS))
    assert all(torch.equal(value, before[name]) for name, value in (outer.params | outer.slots()).items())
    outer.move(moved.changes, moved.slots)
    assert not any(torch.equal(value, before[name]) for name, value in (outer.params | outer.slots()).items())


def test_what_was_stored_goes_on_in_the_same_bits() -> None:
    one = engine()
    options = {"optimizer": "AdamW", "schedule": "CosineAnnealingLR", "iterations": 20, "average": 0.9}
    (outer, whole), (later, whole_later) = outer_of(one, **options), outer_of(one, **options)
    by_itself(one, outer, 2)
    later.restore({name: value.clone() for name, value in outer.tensors().items()}, outer.numbers())
    for _ in range(3):
        for of, step in ((outer, whole), (later, whole_later)):
            assert step.fits(one)
            moved = step(one, episodes(VECTORS))
            of.move(moved.changes, moved.slots)
    for name, value in outer.tensors().items():
        assert torch.equal(later.tensors()[name], value)


def test_scalar_entries_of_phi_in_float32_are_not_taken_for_counters() -> None:
    def made() -> tuple[Engine, Outer, WholeStep]:
        one = Engine(r2d2(perceptron(VECTORS, 4).float(), VECTORS), CPU).planned(Plan("vmap", "whole"))
        params = {name: value.float() for name, value in random_params(one.learner.init(generator())).items()}
        config = RunConfig(name="small", model=models.part("mlp"), learner=learners.part("r2d2"), lr=0.05)
        outer = Outer(params, config.outer)
        return one, outer, WholeStep(outer)

    batch = map_episode(lambda t: t.float() if t.is_floating_point() else t, episodes(VECTORS))
    (one, outer, whole), (_, twin, _) = made(), made()
    assert any(value.dim() == 0 for value in outer.params.values())
    for step in range(6):
        for of in (outer, twin):
            if of is outer and step:
                assert whole.fits(one)
                moved = whole(one, batch)
                of.move(moved.changes, moved.slots)
            else:
                grads, _, _ = one.gradients(of.params, batch)
                of.step(grads, torch.nn.utils.get_total_norm(grads.values()))
    for name, value in twin.params.items():
        if name != "head.offset":  # the loss does not depend on it, so that its gradient is nothing but rounding
            torch.testing.assert_close(outer.params[name], value, rtol=1e-4, atol=1e-5)


def test_a_wrong_move_is_not_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    one = engine()
    outer, whole = outer_of(one)
    by_itself(one, outer, 1)
    right, calls = WholeStep._move, []

    def wrong(self: WholeStep, *arguments: Any) -> Any:
        calls.append(0)
        changes, slots, norm = right(self, *arguments)
        return {n: c if len(calls) == 1 else -c for n, c in changes.items()}, slots, norm

    monkeypatch.setattr(WholeStep, "_move", wrong)
    with pytest.raises(CompileError, match="differ by 2 relative"):
        whole(one, episodes(VECTORS))
