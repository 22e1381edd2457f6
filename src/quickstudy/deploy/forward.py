"""What one adapted model computes: features in, raw predictions out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from quickstudy.entries import reference
from quickstudy.episode import Features, Params, State, leaves, map_features
from quickstudy.errors import ConfigError, DataError
from quickstudy.formats.records import moved
from quickstudy.learners import Learner
from quickstudy.learners.frozen import Frozen, frozen
from quickstudy.targets.distribution import Distribution


@dataclass(frozen=True, eq=False)
class Forward:
    """Raw predictions for features (n, …) as the learner takes them. It is what an export traces.

    learner: at the task's spec. params, state: φ and ψ.
    """

    learner: Learner
    params: Params
    state: State

    @cached_property
    def frozen(self) -> Frozen:
        """φ and ψ bound into a private copy of the network."""
        return frozen(self.learner, self.params, self.state)

    def raw(self, x: Features) -> Tensor:
        """(n, *prediction_shape)."""
        said: Tensor = self.frozen(x)
        return said

    def said(self, x: Features) -> Distribution:
        """Raw predictions, with a spread from learners that know one."""
        said = self.frozen.predictive(x)
        return Distribution(self.frozen(x)) if said is None else said

    def embedded(self, x: Features) -> tuple[Tensor, Features]:
        """Raw predictions, and embeddings as the learner compares them, or x where it embeds nothing."""
        return (self.raw(x), x) if self.learner.embedded is None else self.after(self.learner.embed(self.params, x))

    def after(self, z: Features) -> tuple[Tensor, Features]:
        """`embedded` for what `Learner.embed` gave. ConfigError for learners that embed nothing."""
        if (head := self.learner.embedded) is None:
            raise ConfigError(f"{type(self.learner).__name__} embeds nothing. Leave embeddings out.")
        return head.predict(self.params, self.state, z), head.compared(self.params, z)


@dataclass(frozen=True, eq=False)
class Guarded:
    """The same for whatever a user gives, without gradients: ShapeError or DataError for features that do not fit, and
    DataError instead of predictions that are not finite."""

    forward: Forward

    def raw(self, x: Features) -> Tensor:
        x = self._fitting(x)
        with torch.no_grad():
            said = self.forward.raw(x)
        _require_finite(said)
        return said

    def said(self, x: Features) -> Distribution:
        x = self._fitting(x)
        with torch.no_grad():
            said = self.forward.said(x)
        _require_finite(said.mean, *([] if said.spread is None else [said.spread]))
        return said

    def embedded(self, x: Features) -> tuple[Tensor, Features]:
        x = self._fitting(x)
        with torch.no_grad():
            logits, z = self.forward.embedded(x)
        _require_finite(logits)
        return logits, z

    def after(self, z: Features) -> tuple[Tensor, Features]:
        with torch.no_grad():
            logits, z = self.forward.after(z)
        _require_finite(logits)
        return logits, z

    def _fitting(self, x: Features) -> Features:
        """Features where φ is. Raises ShapeError or DataError, naming what does not fit."""
        x = moved(map_features(torch.as_tensor, x), reference(self.forward.params))
        self.forward.learner.spec.format.check(x, 1, "x")
        if torch.compiler.is_exporting():  # where nobody knows the values yet
            return x
        for tensor in leaves(x):
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise DataError("x holds NaN or infinite values. Remove or fill them before predicting.")
        return x


def _require_finite(*said: Tensor) -> None:
    if torch.compiler.is_exporting():
        return
    if not all(bool(torch.isfinite(tensor).all()) for tensor in said):
        raise DataError(
            "What the model says is NaN or infinite: its training diverged, its file was damaged, or the input is far "
            "from all that it has learned. Look at the input first, then adapt anew with smaller inner rates."
        )
