"""Inner rules: how one inner step turns gradients into an update.

A rule is two pure functions and its hyperparameters: `init` makes the rule's own state, `update` maps gradients to
updates that are added to the parameters. What `init_hyper` returns is an explicit argument of `update`, so that it can
be meta-learned. For the rules here these are the rates; decays stay the numbers that the rule was built with. The
rules of `learned` and `recurrent` have the weights of a network there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from quickstudy.episode import Params
from quickstudy.errors import ConfigError

Rates = Literal["shared", "tensor", "element"]
"""One rate for all parameters, one for each tensor, or one for each element (Meta-SGD, Li et al. 2017)."""


@dataclass(frozen=True)
class Rule(ABC):
    """Base of the inner rules. lr: initial rate. rates: how many rates there are.

    learned: it is worth nothing before its hyperparameters are meta-learned. uses_loss: `update` needs the loss.
    """

    learned: ClassVar[bool] = False
    uses_loss: ClassVar[bool] = False
    lr: float
    rates: Rates = "shared"

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ConfigError(f"The inner learning rate must be positive, found {self.lr}.")

    def init_hyper(self, params: Params, generator: torch.Generator | None = None) -> Params:
        """Initial values of what can be meta-learned: 'lr', or 'lr.<name>' for each of them.

        generator: on the CPU, for rules that draw them; the others need none.
        """
        if self.rates == "shared":
            some = next(iter(params.values()))
            return {"lr": some.new_tensor(self.lr)}
        return {
            f"lr.{name}": torch.full_like(value, self.lr) if self.rates == "element" else value.new_tensor(self.lr)
            for name, value in params.items()
        }

    def rate(self, hyper: Params, name: str) -> Tensor:
        return hyper["lr"] if self.rates == "shared" else hyper[f"lr.{name}"]

    def init(self, params: Params) -> Params:
        """The rule's state before the first step: '<slot>.<name>' tensors."""
        return {}

    @abstractmethod
    def update(
        self, hyper: Params, grads: Params, state: Params, params: Params, loss: Tensor | None = None
    ) -> tuple[Params, Params]:
        """Updates to add to `params`, and the next state. All mappings share the parameters' names.

        loss: the scalar that `grads` are the gradient of, for rules that use it.
        """


@dataclass(frozen=True)
class SGD(Rule):
    """update = -lr · lr_decay^k · g after k steps: below 1, where gradients are noisy and steps must become shorter."""

    lr_decay: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.lr_decay <= 1:
            raise ConfigError(f"lr_decay is a factor above 0 and up to 1, found {self.lr_decay}. Correct it.")

    def init(self, params: Params) -> Params:
        return {} if self.lr_decay == 1 else {"count": next(iter(params.values())).new_zeros(())}

    def update(
        self, hyper: Params, grads: Params, state: Params, params: Params, loss: Tensor | None = None
    ) -> tuple[Params, Params]:
        if self.lr_decay == 1:
            return {name: -self.rate(hyper, name) * g for name, g in grads.items()}, state
        factor = self.lr_decay ** state["count"]
        return {name: -factor * self.rate(hyper, name) * g for name, g in grads.items()}, {"count": state["count"] + 1}


@dataclass(frozen=True)
class Momentum(Rule):
    """v ← decay · v + g; update = -lr · v (Polyak's heavy ball, as in torch.optim.SGD)."""

    decay: float = 0.9

    def init(self, params: Params) -> Params:
        return {f"velocity.{name}": torch.zeros_like(value) for name, value in params.items()}

    def update(
        self, hyper: Params, grads: Params, state: Params, params: Params, loss: Tensor | None = None
    ) -> tuple[Params, Params]:
        velocity = {name: self.decay * state[f"velocity.{name}"] + g for name, g in grads.items()}
        updates = {name: -self.rate(hyper, name) * v for name, v in velocity.items()}
        return updates, {f"velocity.{name}": v for name, v in velocity.items()}


@dataclass(frozen=True)
class Adam(Rule):
    """Adam (Kingma & Ba 2015) with bias correction."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def init(self, params: Params) -> Params:
        slots = {f"{slot}.{n}": torch.zeros_like(v) for slot in ("first", "second") for n, v in params.items()}
        return slots | {"count": next(iter(params.values())).new_zeros(())}

    def update(
        self, hyper: Params, grads: Params, state: Params, params: Params, loss: Tensor | None = None
    ) -> tuple[Params, Params]:
        count = state["count"] + 1
        after: Params = {"count": count}
        updates: Params = {}
        for name, g in grads.items():
            first = self.beta1 * state[f"first.{name}"] + (1 - self.beta1) * g
            second = self.beta2 * state[f"second.{name}"] + (1 - self.beta2) * g.square()
            # The root's slope is infinite at 0, and 0 · inf in the backward pass would make φ's gradient NaN.
            positive = second > 0
            root = torch.where(positive, torch.where(positive, second, 1.0).sqrt(), 0.0)
            corrected = root / (1 - self.beta2**count).sqrt() + self.eps
            updates[name] = -self.rate(hyper, name) * first / (1 - self.beta1**count) / corrected
            after |= {f"first.{name}": first, f"second.{name}": second}
        return updates, after
