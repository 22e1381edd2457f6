"""Muon for networks with convolutions: orthogonalised momentum for weight matrices, Adam for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration; they maximise its slope at zero (Jordan 2024)
_SMALLEST = 16  # inputs per output below which a weight counts as a vector


class Muon(torch.optim.Optimizer):
    """Momentum whose update of each weight matrix is replaced by the nearest orthogonal one (Jordan et al. 2024).

    A convolution's weight (out, in, h, w) counts as the matrix (out, in · h · w), which `torch.optim.Muon` does not
    take. Biases, norms and other small tensors move by Adam with `lr`; matrices by `lr` · `matrix_rate`. On small
    convolutional networks it needs about a third fewer steps than Adam.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 2e-3,
        matrix_rate: float = 10.0,
        momentum: float = 0.9,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        for name, value, least in (("lr", lr, 0), ("matrix_rate", matrix_rate, 0), ("weight_decay", weight_decay, 0)):
            if not value >= least:
                raise ValueError(f"{name} must be at least {least}, found {value}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), found {momentum}")
        super().__init__(
            params,
            {
                "lr": lr, "matrix_rate": matrix_rate, "momentum": momentum, "betas": betas, "eps": eps,
                "weight_decay": weight_decay,
            },
        )  # fmt: skip

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for value in group["params"]:
                if value.grad is not None:
                    (self._matrix if _is_matrix(value) else self._adam)(value, value.grad, self.state[value], group)

    @staticmethod
    def _matrix(value: Tensor, grad: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
        if not state:
            state["velocity"] = torch.zeros_like(value)
        rate = group["lr"] * group["matrix_rate"]
        velocity = state["velocity"].mul_(group["momentum"]).add_(grad)
        ahead = grad.add(velocity, alpha=group["momentum"]).flatten(1)
        tall = max(1.0, ahead.shape[0] / ahead.shape[1]) ** 0.5
        value.mul_(1 - rate * group["weight_decay"])
        value.add_(orthogonalised(ahead).reshape(value.shape), alpha=-rate * tall)

    @staticmethod
    def _adam(value: Tensor, grad: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
        if not state:
            state |= {"first": torch.zeros_like(value), "second": torch.zeros_like(value), "step": torch.zeros(())}
        beta1, beta2 = group["betas"]
        count = float(state["step"].add_(1))
        first = state["first"].lerp_(grad, 1 - beta1) / (1 - beta1**count)
        second = state["second"].lerp_(grad.square(), 1 - beta2) / (1 - beta2**count)
        value.mul_(1 - group["lr"] * group["weight_decay"] * (value.dim() > 1))
        value.sub_(group["lr"] * first / (second.sqrt() + group["eps"]))


def _is_matrix(value: Tensor) -> bool:
    return value.dim() >= 2 and len(value) > 1 and value[0].numel() >= _SMALLEST


def orthogonalised(matrix: Tensor, iterations: int = 5) -> Tensor:
    """A matrix (m, n) with the same singular vectors whose singular values all lie near 1 (between 0.7 and 1.2).

    Newton-Schulz: x ← ax + b(xxᵀ)x + c(xxᵀ)²x, which needs no decomposition.
    """
    a, b, c = _COEFFICIENTS
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.T if matrix.shape[0] > matrix.shape[1] else x
    return result
