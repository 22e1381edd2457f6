"""What a contestant is, and the quickstudy ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.problems import OUTER_LR, Problem
from quickstudy.engine import Engine, Plan, Tuner
from quickstudy.entries import PARAMETER, prefixed, with_prefix
from quickstudy.learners import maml
from quickstudy.registry import learners, models
from quickstudy.training import outer as training
from quickstudy.training.config import RunConfig
from quickstudy.training.whole import WholeStep

Gradient = dict[str, Tensor]
_STEPS_LEFT = 50_000  # of the run that the tuner believes to be in: a usual length


class Contestant(ABC):
    """A way of doing the meta-steps of one problem.

    name: as in the tables. family: 'quickstudy', 'PyTorch' or 'JAX'.
    """

    name: str
    family: str

    @abstractmethod
    def gradient(self) -> Gradient:
        """The meta-gradient, the mean over tasks, at the present φ, by the names of `Problem.params`."""

    @abstractmethod
    def step(self) -> object:
        """One meta-step, done when it returns: the meta-gradient, and Adam's step of φ along it."""


class Outer:
    """φ as leaves and the outer optimizer, the same for all contestants in PyTorch."""

    def __init__(self, leaves: list[Tensor]) -> None:
        self.leaves = leaves
        self._adam = torch.optim.Adam(leaves, lr=OUTER_LR, fused=True)

    def step(self, grads: list[Tensor] | None = None) -> None:
        """grads: along which to move; None takes what `backward` left in the leaves."""
        if grads is not None:
            for leaf, grad in zip(self.leaves, grads, strict=True):
                leaf.grad = grad.contiguous()  # as the fused kernel takes it, whatever its strides
        self._adam.step()


class WithModule(Contestant):
    """A contestant whose φ are the parameters of a module, and whose gradient is accumulated there by `backward`."""

    family = "PyTorch"

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.module = problem.module()
        self.outer = Outer(list(self.module.parameters()))
        support, query = problem.episodes
        self.tasks = list(zip(support.x, support.y, query.x, query.y, strict=True))
        self.loss: Any = nn.functional.mse_loss if problem.kind == "sinusoid" else nn.functional.cross_entropy

    @abstractmethod
    def backward(self) -> None:
        """Add the meta-gradient to the `grad` of the module's parameters."""

    def gradient(self) -> Gradient:
        self.module.zero_grad()
        self.backward()
        return {name: value.grad.clone() for name, value in self.module.named_parameters() if value.grad is not None}

    def step(self) -> None:
        self.module.zero_grad()
        self.backward()
        self.outer.step()


class Ours(Contestant):
    """quickstudy by one plan. metagrad: the estimator, the learner's own if not given."""

    family = "quickstudy"

    def __init__(self, problem: Problem, plan: Plan | None, metagrad: str | None = None) -> None:
        self.engine = engine_of(problem, metagrad)
        if plan is not None:
            self.engine = self.engine.planned(plan)
        self.name = f"quickstudy, {self.engine.plan}" + (f", {metagrad}" if metagrad else "")
        self.episodes = problem.episodes
        self.params = with_prefix(PARAMETER, {name: value.clone() for name, value in problem.params.items()})
        config = RunConfig(
            name="benchmark", model=models.part("mlp"), learner=learners.part("maml"), optimizer="Adam", lr=OUTER_LR
        )
        self.outer = training.Outer(self.params, config.outer)
        self.whole = WholeStep(self.outer)

    def gradient(self) -> Gradient:
        grads, _, _ = self.engine.gradients(self.params, self.episodes)
        return prefixed(PARAMETER, grads)

    def step(self) -> None:
        if self.whole.fits(self.engine):
            moved = self.whole(self.engine, self.episodes)
            self.outer.move(moved.changes, moved.slots)
        else:
            grads, _, _ = self.engine.gradients(self.params, self.episodes)
            self.outer.step(grads, torch.zeros(()))


def engine_of(problem: Problem, metagrad: str | None = None) -> Engine:
    """MAML for the problem, with the plan that a run starts with."""
    learner = maml(problem.module(), problem.spec, lr=problem.lr, steps=problem.steps, norm="batch")
    return Engine(learner, torch.device("cpu"), metagrad=metagrad)


def chosen_plan(problem: Problem) -> Plan:
    """What the tuner, left as it is by default, decides on in a run of usual length."""
    tuner = Tuner(engine_of(problem))
    params = with_prefix(PARAMETER, problem.params)
    for step in range(50):
        tuner.gradients(params, problem.episodes, None, _STEPS_LEFT - step)
        if tuner.decided:
            break
    return tuner.engine.plan


def plans(problem: Problem) -> list[Plan]:
    """The plans to show beside the tuner's choice; with convolutions eager ones: compiling takes half a minute."""
    threads = torch.get_num_threads()
    found = [Plan("vmap"), Plan("loop")]
    if problem.kind != "conv4":
        found += [Plan("vmap", compiled="whole"), Plan("vmap", compiled="parts")]
    if threads > 1:
        found.append(Plan("loop", workers=threads))
    return found
