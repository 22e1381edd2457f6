"""Inner rules that are small networks: what they share, and the one without recurrence.

One network, the same for every coordinate of every parameter, sees what happens at that coordinate and says how it
moves (Andrychowicz et al. 2016). Its weights are the rule's hyperparameters, so whatever meta-learns a rate trains it.
What it remembers of a coordinate is a vector of fixed width: the state 'memory.<name>' is (*shape, width).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from quickstudy.episode import Params
from quickstudy.errors import ConfigError, unknown_name
from quickstudy.hints import Size
from quickstudy.inner.rules import Rule

SLOT = "memory."


@dataclass(frozen=True)
class LearnedRule(Rule):
    """Base of the rules that are networks. lr: the scale of their updates, which stays as it is.

    hidden: units of the network's layers. Drawn afresh, a rule takes small sensible steps at about the rate lr.
    """

    learned: ClassVar[bool] = True
    hidden: Size = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rates != "shared":
            raise ConfigError(
                f"A learned rule has one network for all coordinates and no rates of its own: rates={self.rates!r} "
                "means nothing to it. Leave rates at 'shared'."
            )
        if self.hidden < 1:
            raise ConfigError(f"A learned rule needs at least 1 hidden unit, found {self.hidden}.")

    @property
    @abstractmethod
    def width(self) -> int:
        """How many numbers are remembered of each coordinate."""

    @abstractmethod
    def draw(self, generator: torch.Generator) -> Params:
        """Fresh weights in float64, on the CPU."""

    @abstractmethod
    def move(self, hyper: Params, seen: Seen) -> tuple[Tensor, Tensor]:
        """Updates (n,) and memory (n, width) after one step at the n coordinates `seen`."""

    def init_hyper(self, params: Params, generator: torch.Generator | None = None) -> Params:
        """Fresh weights, in the type and on the device of `params`. Raises ConfigError without a generator."""
        if generator is None:
            raise ConfigError(
                f"The inner rule {type(self).__name__} is a network, and there is nothing to draw its weights from. "
                "Give a generator, or weights that were trained."
            )
        some = next(iter(params.values()))
        return {name: value.to(some) for name, value in self.draw(generator).items()}

    def init(self, params: Params) -> Params:
        return {f"{SLOT}{name}": value.new_zeros((*value.shape, self.width)) for name, value in params.items()}

    def update(
        self, hyper: Params, grads: Params, state: Params, params: Params, loss: Tensor | None = None
    ) -> tuple[Params, Params]:
        if self.uses_loss and loss is None:
            raise ConfigError(
                f"The inner rule {type(self).__name__} looks at the loss and was not given it. Pass it to `update`; an "
                "optimizer gets it from the closure given to step()."
            )
        flat = [torch.cat([part[n].reshape(-1) for n in grads]) for part in (grads, params)]
        memory = torch.cat([state[SLOT + n].reshape(-1, self.width) for n in grads])
        moves, after = self.move(hyper, Seen(flat[0], flat[1], memory, loss))
        sizes = [g.numel() for g in grads.values()]
        pieces, memories = torch.split(moves, sizes), torch.split(after, sizes)
        updates = {n: piece.reshape(params[n].shape) for n, piece in zip(grads, pieces, strict=True)}
        slots = {SLOT + n: piece.reshape(state[SLOT + n].shape) for n, piece in zip(grads, memories, strict=True)}
        return updates, slots


@dataclass(frozen=True)
class Seen:
    """What a network is told of n coordinates. grads, params: (n,). memory: (n, width). loss: () or None."""

    grads: Tensor
    params: Tensor
    memory: Tensor
    loss: Tensor | None


def log_and_sign(value: Tensor, p: float = 10.0) -> Tensor:
    """(…) to (…, 2): log|v|/p and the sign; below e⁻ᵖ, where a logarithm says too much, -1 and eᵖ v.

    Gradients differ by orders of magnitude, and a network wants inputs near 1 (Andrychowicz et al. 2016, appendix A).
    The result and its derivatives are finite everywhere, at 0 too.
    """
    size, least = value.abs(), torch.exp(value.new_tensor(-p))
    large = size >= least
    magnitude = torch.where(large, torch.where(large, size, 1.0).log() / p, -1.0)
    return torch.stack([magnitude, torch.where(large, value.sign(), value / least)], dim=-1)


def linear(generator: torch.Generator, inputs: int, outputs: int, scale: float = 1.0) -> Tensor:
    """(inputs, outputs) weights, uniform with standard deviation scale / √inputs."""
    spread = scale * (3 / inputs) ** 0.5
    drawn: Tensor = torch.rand((inputs, outputs), generator=generator, dtype=torch.float64)
    return drawn.mul(2 * spread).sub(spread)


@dataclass(frozen=True)
class MLPRule(LearnedRule):
    """A perceptron that mixes running means of the gradient: update = -lr · exp(magnitude) · Σ_d mix_d · m_d / c.

    In the spirit of Metz et al. (2019, 2022). m_d is the running mean of gradients with decay d. c makes the update
    independent of the loss's units: with scale='moment' it is √v, the root of the running mean of their squares as in
    Adam; with 'secant' √(Σ Δg² / Σ Δθ²), the change of the gradient by the change of the parameter, which is the
    curvature that the path has met of late. It holds where curvatures differ from function to function: steps that
    begin to diverge meet the steepest direction and shrink.

    The perceptron sees m_d / √v, gradient, √v and c on a logarithmic scale, the parameter, and the logarithm of the
    number of steps. A tenth of its outputs is added to where `mix` and `magnitude` start, so that one outer step does
    not turn a stable rule into one that diverges: `magnitude` at 0, `mix` at 1 for the decay nearest 0.9, 0 for the
    others. A fresh rule is so, but for small random numbers, Adam without its correction of the mean.

    decays: of the running means. decay: of the mean of squares. memory: decay of the sums in c, for 'secant', and
    first: the change of the parameter that the first gradient is counted as.
    """

    hidden: Size = 32
    decays: tuple[float, ...] = (0.0, 0.5, 0.9, 0.97, 0.99)
    decay: float = 0.99
    scale: Literal["moment", "secant"] = "moment"
    memory: float = 0.9
    first: float = 0.01
    eps: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.decays or not all(0 <= d < 1 for d in (*self.decays, self.decay, self.memory)):
            raise ConfigError(
                f"An MLPRule needs decays in [0, 1), found {self.decays}, {self.decay} for the squares and "
                f"{self.memory} for the memory."
            )
        if self.scale not in ("moment", "secant"):
            raise unknown_name("scale of an MLPRule", self.scale, ("moment", "secant"))

    @property
    def width(self) -> int:
        return len(self.decays) + 2 + (4 if self.scale == "secant" else 0)

    def draw(self, generator: torch.Generator) -> Params:
        inputs, means = len(self.decays) + 6, len(self.decays)
        return {
            "first.weight": linear(generator, inputs, self.hidden),
            "first.bias": torch.zeros(self.hidden, dtype=torch.float64),
            "second.weight": linear(generator, self.hidden, self.hidden),
            "second.bias": torch.zeros(self.hidden, dtype=torch.float64),
            "last.weight": linear(generator, self.hidden, means + 1, scale=0.1),
            "last.bias": torch.zeros(means + 1, dtype=torch.float64),
        }

    def move(self, hyper: Params, seen: Seen) -> tuple[Tensor, Tensor]:
        g, many = seen.grads[:, None], len(self.decays)
        means, square, count, path = seen.memory.split_with_sizes([many, 1, 1, self.width - many - 2], dim=1)
        decays, count = g.new_tensor(self.decays), count + 1
        means = decays * means + (1 - decays) * g
        square = self.decay * square + (1 - self.decay) * g.square()
        # eps inside the roots: their slope at 0 must be finite
        root = (square / (1 - self.decay**count) + self.eps**2).sqrt()
        scale = root
        if self.scale == "secant":
            before, update, rises, runs = path.unbind(dim=1)
            rises = self.memory * rises + (seen.grads - before).square()
            runs = self.memory * runs + update.square()
            begun = self.first**2 * self.memory ** (count[:, 0] - 1)
            scale = ((rises + self.eps**2) / (runs + begun + self.eps**2)).sqrt()[:, None]
        features = [
            means / root / (1 - decays**count), log_and_sign(seen.grads), root.log() / 5, scale.log() / 5,
            seen.params[:, None], count.log() / 3,
        ]  # fmt: skip
        layer = torch.tanh(torch.cat(features, dim=1) @ hyper["first.weight"] + hyper["first.bias"])
        layer = torch.tanh(layer @ hyper["second.weight"] + hyper["second.bias"])
        out = (layer @ hyper["last.weight"] + hyper["last.bias"]) / 10
        mix = out[:, :-1] + g.new_tensor(self._start)
        update = -self.lr * out[:, -1].exp() * (mix * means / scale).sum(dim=1)
        if self.scale == "secant":
            path = torch.stack([seen.grads, update, rises, runs], dim=1)
        return update, torch.cat([means, square, count, path], dim=1)

    @property
    def _start(self) -> list[float]:
        """Where `mix` starts: 1 for the decay nearest 0.9."""
        nearest = min(self.decays, key=lambda decay: abs(decay - 0.9))
        return [float(decay == nearest) for decay in self.decays]
