"""Compiled meta-gradients equal eager ones, and are not trusted before they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_tasks import IMAGES, VALUES, VECTORS, convolutional, episodes, generator, random_params
from torch import Tensor, nn

from quickstudy.engine import Engine, Plan
from quickstudy.engine.compile import Captured, CompileError, check_agreement
from quickstudy.episode import map_episode
from quickstudy.learners import Learner, maml
from quickstudy.models import WithContext
from quickstudy.registry import learners
from quickstudy.spec import TaskSpec

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def really_compiled(captured_not_compiled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHDYNAMO_DISABLE")


def build(name: str, spec: TaskSpec = VECTORS) -> Learner:
    """The learner around one layer: what is compiled for longest is the network."""
    traits = learners.traits(name)
    outputs = spec.outputs if traits.head else 4
    module: nn.Module = nn.Linear(*spec.input_shape, outputs).double()
    if traits.context:
        module = WithContext(nn.Linear(spec.input_shape[0] + 2, outputs), 2).double()
    options: dict[str, Any] = {"classes": 3} if traits.pretrains else {}
    learner: Learner = learners[name](module, spec, **options)
    return learner


def assert_same(found: Any, wanted: Any, **tolerance: float) -> None:
    for name, grad in wanted[0].items():
        torch.testing.assert_close(found[0][name], grad, **tolerance)
    torch.testing.assert_close(found[1], wanted[1], **tolerance)


# One learner for each kind of computation: compiling takes seconds, and every program is compared when it is made.
@pytest.mark.parametrize("name", ["protonet", "r2d2", "maml", "reptile"])
def test_every_kind_of_learner_compiles_to_the_same_gradient(name: str) -> None:
    learner, batch = build(name), episodes(VECTORS)
    params = random_params(learner.init(generator()))
    engine = Engine(learner, CPU, "vmap")
    keys = torch.arange(3)
    compiled = engine.planned(Plan("vmap", "whole")).gradients(params, batch, keys)
    assert_same(compiled, engine.gradients(params, batch, keys), rtol=1e-10, atol=1e-12)


def test_a_meta_batch_of_one_task_compiles() -> None:
    """As the recipes of embedding learners have it: outside of `vmap`, where other operations look at data."""
    learner, batch = build("protonet"), episodes(VECTORS, tasks=1)
    params = random_params(learner.init(generator()))
    engine = Engine(learner, CPU, "loop")
    compiled = engine.planned(Plan("loop", "whole")).gradients(params, batch)
    assert_same(compiled, engine.gradients(params, batch), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("plan", [Plan("loop", "whole", workers=2), Plan("vmap", "parts", order="forward")])
def test_parts_and_threads_compile_to_the_same_gradient_in_float32(plan: Plan) -> None:
    learner, batch = maml(convolutional(3).float(), IMAGES, lr=0.1, steps=2, norm="batch"), episodes(IMAGES)
    batch = map_episode(lambda t: t.float() if t.is_floating_point() else t, batch)
    params = {name: value.float() for name, value in random_params(learner.init(generator())).items()}
    engine = Engine(learner, CPU, "vmap")
    assert_same(engine.planned(plan).gradients(params, batch), engine.gradients(params, batch), rtol=1e-3, atol=1e-5)


def test_what_is_compiled_in_parts_serves_any_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    module = nn.Linear(5, 2).double()
    learner, batch = maml(module, VALUES, lr=0.05, steps=2, rule="adam"), episodes(VALUES)
    params = random_params(learner.init(generator()))
    few = Engine(learner, CPU, metagrad="recompute").planned(Plan("vmap", "parts"))
    few.gradients(params, batch)
    many = few.planned(few.plan)
    object.__setattr__(many, "learner", learner.with_steps(7))
    object.__setattr__(many, "_captured", few._captured)
    monkeypatch.setattr(Captured, "_made", lambda *_: pytest.fail("something was compiled anew"))
    found = many.gradients(params, batch)
    assert_same(found, Engine(learner.with_steps(7), CPU).gradients(params, batch), rtol=1e-9, atol=1e-12)


def test_threads_share_the_tasks_of_a_loop_without_mixing_them_up() -> None:
    learner, batch = maml(convolutional(3), IMAGES, lr=0.1, steps=2, norm="batch"), episodes(IMAGES, tasks=7)
    params = random_params(learner.init(generator()))
    wanted = Engine(learner, CPU, "loop").gradients(params, batch)
    for _ in range(5):
        assert_same(Engine(learner, CPU).planned(Plan("loop", workers=3)).gradients(params, batch), wanted)


class Branching(nn.Module):
    """Its way depends on the values it is given, which no graph can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out if bool(out.sum() > 0) else -out


def test_a_network_that_cannot_be_compiled_is_told_from_one_that_can() -> None:
    learner, batch = maml(Branching().double(), VECTORS), episodes(VECTORS)
    params = random_params(learner.init(generator()))
    engine = Engine(learner, CPU, "loop")
    engine.gradients(params, batch)
    with pytest.raises(CompileError):
        engine.planned(Plan("loop", "whole")).gradients(params, batch)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t * (1 + 1e-8), "differ by 1e-08 relative"),
        (lambda t: -t, "differ by 2 relative"),
        (lambda t: t.float(), "shape"),
        (lambda t: torch.where(t > 0, t, torch.nan), "differ by nan"),
    ],
)
def test_results_that_differ_are_not_accepted(change: Callable[[Tensor], Tensor], message: str) -> None:
    right = [torch.randn(5, generator=generator(), dtype=torch.float64), torch.arange(3)]
    check_agreement(right, [t.clone() for t in right])
    with pytest.raises(CompileError, match=message):
        check_agreement(right, [change(right[0]), right[1]])
    with pytest.raises(CompileError, match="whole numbers"):
        check_agreement(right, [right[0], right[1] + 1])


def test_a_captured_function_takes_and_gives_nested_tensors_of_any_shape() -> None:
    captured = Captured(lambda pair: {"sum": pair["a"] + pair["b"][0], "same": pair["a"]})
    for size in (2, 3):
        a, b = torch.ones(size), torch.arange(float(size))
        found = captured({"a": a, "b": (b,)})
        torch.testing.assert_close(found["sum"], a + b)
        torch.testing.assert_close(found["same"], a)


class Rounded(Captured):
    """A function of one tensor, and a program for it that rounds otherwise; `off` is its relative mistake."""

    def __init__(self, function: Callable[..., Any], program: Callable[..., Any], off: float) -> None:
        super().__init__(function)
        self.program, self.off = program, off

    def check(self, x: Tensor) -> None:
        def program(x: Tensor) -> list[Tensor]:
            return [part * (1 + self.off) for part in self.program(x)]

        self._check(program, [x], torch.utils._pytree.tree_structure((x,)), [None] * len(self.program(x)))


def slope(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor]:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(function(x).sum(), x)


@pytest.mark.parametrize("edge", [0.3 + 1e-6, 0.3 - 1e-6])
def test_a_rectifier_on_the_edge_is_no_wrong_graph(edge: float) -> None:
    """Where rounding decides which way a gradient goes, double precision, or inputs near by, tell what is wrong."""
    x = torch.tensor([0.3, 1.0, -2.0, 0.7])
    eager, program = (lambda x, at=at: slope(lambda x: 3 * (x - at).relu() + x, x) for at in (edge, 0.6 - edge))
    assert not torch.equal(eager(x)[0], program(x)[0])
    Rounded(eager, program, 0.0).check(x)
    with pytest.raises(CompileError, match="differ by"):
        Rounded(eager, program, 0.01).check(x)


def test_what_is_nothing_but_rounding_may_differ() -> None:
    """The sum of what is left after a mean is taken away is 0, or what rounding makes of it."""
    x = torch.randn(4096)

    def left(x: Tensor, turned: bool) -> tuple[Tensor, Tensor]:
        rest = (x - x.mean()).view(64, 64).sum(0) if turned else (x - x.mean()).cumsum(0)[-1:]
        return rest.sum()[None], x[:1] / 1000

    eager, program = (lambda x, turned=turned: left(x, turned) for turned in (False, True))
    assert float((eager(x)[0] - program(x)[0]).abs()) > 1e-7
    Rounded(eager, program, 0.0).check(x)
    with pytest.raises(CompileError, match="differ by"):
        Rounded(eager, program, 0.01).check(x)
