"""Training a learned optimizer over long horizons, a segment of inner steps at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Params, State
from quickstudy.errors import ConfigError, TrainingError, unknown_name
from quickstudy.inner import Rule
from quickstudy.learners.descent import begin, descend, task_parameters
from quickstudy.metagrads.antithetic import added, both_sides, estimate, noise
from quickstudy.metagrads.base import detached
from quickstudy.optim.problems import Problems
from quickstudy.training.options import OuterOptions
from quickstudy.training.outer import Outer


@dataclass(frozen=True)
class Unrolls:
    """How `rule` is run on functions of `problems`: `batch` of them at once, for `horizon` steps each, then new ones.

    segment: the inner steps between two outer steps; divides `horizon`. The functions of a batch are at different
    segments of their horizons, so that every outer step sees all of them. objective: what is summed over the steps of a
    segment and averaged over the batch: the loss ('sum', Andrychowicz et al. 2016), or log(loss + floor), to which late
    steps count as much as early ones, until the loss is as small as `floor`. through: the gradients that the rule is
    shown are differentiated in turn; if not, they count as constants, as in Andrychowicz et al., which is cheaper and
    does not see that large steps diverge. seed: decides the functions and, for PES, the perturbations. device: where
    all of it runs; weights that are given must lie there.
    """

    rule: Rule
    problems: Problems
    horizon: int = 100
    segment: int = 20
    batch: int = 64
    objective: Literal["sum", "log"] = "sum"
    floor: float = 1e-3
    through: bool = True
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.segment < 1 or self.horizon < 1 or self.horizon % self.segment or self.batch < 1:
            raise ConfigError(
                f"The horizon must be a multiple of the segment, and both and the batch at least 1; found a horizon of "
                f"{self.horizon}, segments of {self.segment}, a batch of {self.batch}."
            )
        if self.objective not in ("sum", "log"):
            raise unknown_name("objective", self.objective, ("sum", "log"))

    def key(self, turn: int, *labels: str) -> Tensor:
        """The key of outer step `turn`."""
        return rng.fold(rng.key(self.seed, "unrolls", *labels, device=self.device), turn)

    def weights(self) -> Params:
        """Fresh hyperparameters of the rule, drawn from the seed."""
        _, start = self.problems.draw(self.key(0)[None])
        one = {name: value[0] for name, value in start.items()}
        return self.rule.init_hyper(one, torch.Generator().manual_seed(self.seed))

    def ended(self, turn: int) -> Tensor:
        """Which functions (batch,) are at the end of their horizon before outer step `turn`: all, before the first."""
        segments = self.horizon // self.segment
        numbers = torch.arange(self.batch, device=self.device)
        return (numbers + turn) % segments == 0 if turn else torch.ones_like(numbers, dtype=torch.bool)

    def renewed(self, turn: int, going: Going | None) -> Going:
        """What is going on at outer step `turn`, with new functions where the old ones are at their end."""
        data, start = self.problems.draw(rng.split(self.key(turn), self.batch))
        new = Going(data, torch.func.vmap(partial(begin, self.rule))(start), {})
        if going is None:
            return new
        ended = self.ended(turn)
        return Going(*(_where(ended, one, other) for one, other in zip(new, going, strict=True)))

    def run(self, hyper: Params, state: State, data: Params) -> tuple[Tensor, State]:
        """The losses (segment,) of one function after each step of one segment, and the state at its end."""

        def loss(task: Params, shared: Params) -> Tensor:
            return self.problems.loss(task, shared)

        losses = []
        for _ in range(self.segment):
            state = descend(self.rule, state, loss, data, hyper, self.through)
            losses.append(self.problems.loss(task_parameters(state), data))
        return torch.stack(losses), state

    def objectives(self, losses: Tensor) -> Tensor:
        """The objective of each of T functions (T,) of its losses (T, segment)."""
        return (losses if self.objective == "sum" else (losses + self.floor).log()).sum(dim=1)


class Going(NamedTuple):
    """A batch of functions half-way: their data, the inner states, and the sum of their perturbations (PES)."""

    data: Params
    state: State
    shift: Params


class HyperGradient(NamedTuple):
    """The gradient in the rule's hyperparameters, the mean loss over steps and functions, and how it goes on."""

    grads: Params
    loss: Tensor
    going: Going


Estimator = Callable[[Unrolls, Params, int, "Going | None"], HyperGradient]


def truncated(unrolls: Unrolls, weights: Params, turn: int, going: Going | None) -> HyperGradient:
    """Backpropagation through one segment; where it began counts as a constant (Andrychowicz et al. 2016)."""
    data, state, _ = unrolls.renewed(turn, going)
    moving = {name: value.detach().requires_grad_() for name, value in weights.items()}
    with torch.enable_grad():
        losses, after = torch.func.vmap(unrolls.run, in_dims=(None, 0, 0))(moving, state, data)
        objective = unrolls.objectives(losses).mean()
        slopes = torch.autograd.grad(objective, list(moving.values()), materialize_grads=True)
    grads = dict(zip(moving, slopes, strict=True))
    return HyperGradient(grads, losses.detach().mean(), Going(data, detached(after), {}))


def persistent(unrolls: Unrolls, weights: Params, turn: int, going: Going | None, sigma: float = 0.01) -> HyperGradient:
    """Online persistent evolution strategies (Vicol, Metz & Sohl-Dickstein 2021), without bias from truncation.

    Each function of the batch is run twice, with weights ± ε; ε ~ N(0, σ²) is drawn anew in every segment, and both
    inner states go on from where they were. The mean of (ε_1 + … + ε_i) (L_i⁺ − L_i⁻) / 2σ² over the batch, with L_i
    the objective of the segment at hand, estimates the gradient of the whole horizon's, smoothed over a width of σ.
    """
    data, state, shift = _twice(unrolls, turn, going, weights)
    drawn = noise(weights, rng.split(unrolls.key(turn, "noise"), unrolls.batch))
    plus, minus = both_sides(weights, drawn, sigma)
    moved = {name: torch.cat([value, minus[name]]) for name, value in plus.items()}
    shift = added(shift, drawn, sigma)
    both = {name: torch.cat([value, value]) for name, value in data.items()}
    with torch.no_grad():
        losses, after = torch.func.vmap(unrolls.run)(moved, state, both)
    above, below = unrolls.objectives(losses).chunk(2)
    each = estimate(shift, above, below, 2 * sigma**2)
    return HyperGradient(
        {name: value.mean(dim=0) for name, value in each.items()}, losses.mean(), Going(data, after, shift)
    )


def _twice(unrolls: Unrolls, turn: int, going: Going | None, weights: Params) -> Going:
    """As `Unrolls.renewed`, with two inner states of every function: all of the first ones, then the second ones."""
    new = unrolls.renewed(turn, None)
    state = {name: torch.cat([value, value]) for name, value in new.state.items()}
    shift = {name: value.new_zeros((unrolls.batch, *value.shape)) for name, value in weights.items()}
    if going is None:
        return Going(new.data, state, shift)
    ended = unrolls.ended(turn)
    return Going(
        _where(ended, new.data, going.data),
        _where(torch.cat([ended, ended]), state, going.state),
        _where(ended, shift, going.shift),
    )


def _where(which: Tensor, one: Params, other: Params) -> Params:
    """The rows of `one` where `which` (T,), else those of `other`."""
    return {n: torch.where(which.view(-1, *(1 for _ in v.shape[1:])), v, other[n]) for n, v in one.items()}


ESTIMATORS: dict[str, Estimator] = {"truncated": truncated, "pes": persistent}


def train_optimizer(
    unrolls: Unrolls,
    iterations: int,
    *,
    weights: Params | None = None,
    estimator: str | Estimator = "truncated",
    lr: float = 1e-3,
    clip: float = 1.0,
    on_step: Callable[[int, Params, float], None] | None = None,
) -> Params:
    """Weights of the rule after `iterations` outer steps of Adam, at a rate that falls from lr to 0 along a cosine.

    weights: to start from; None draws them. estimator: 'truncated', 'pes', or a function such as
    `functools.partial(persistent, sigma=0.1)`. clip: bound on the gradient's norm, 0 for none. on_step: called after
    each outer step with its number from 1, the weights and the mean loss. Raises TrainingError if the gradient is not
    finite.
    """
    if isinstance(estimator, str):
        if estimator not in ESTIMATORS:
            raise unknown_name("estimator of learned optimizers", estimator, ESTIMATORS)
        estimator = ESTIMATORS[estimator]
    if iterations < 1:
        raise ConfigError(f"Training needs at least 1 outer step, found {iterations}.")
    # PyTorch's own choice of kernels: a fused one rounds otherwise, and published weights were trained without.
    options = OuterOptions(
        lr=lr, optimizer_options={"fused": None}, schedule="CosineAnnealingLR", clip=clip, iterations=iterations
    )
    outer = Outer({name: value.detach().clone() for name, value in (weights or unrolls.weights()).items()}, options)
    going: Going | None = None
    for turn in range(iterations):
        grads, loss, going = estimator(unrolls, outer.params, turn, going)
        norm = torch.nn.utils.get_total_norm(grads.values())
        if not bool(norm.isfinite() & loss.isfinite()):
            raise TrainingError(
                f"The gradient of the learned optimizer is not finite at outer step {turn} (seed {unrolls.seed}, "
                f"mean loss {float(loss):g}). Lower lr, now {lr:g}, the rule's own lr, now "
                f"{unrolls.rule.lr:g}, or the segment, now {unrolls.segment}."
            )
        outer.step(grads, norm)
        if on_step is not None:
            on_step(turn + 1, outer.params, float(loss))
    return detached(outer.params)
