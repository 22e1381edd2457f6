"""The estimators to first order in the inner rate α, with a minibatch of its own for each inner step.

Nichol, Achiam & Schulman 2018, section 5.1: with ḡ_i and H̄_i the gradient and Hessian of the loss of minibatch i at φ,

    MAML     ḡ_k − α Σ_{j<k} H̄_k ḡ_j − α Σ_{j<k} H̄_j ḡ_k
    FOMAML   ḡ_k − α Σ_{j<k} H̄_k ḡ_j
    Reptile  Σ_i ḡ_i − α Σ_i Σ_{j<i} H̄_i ḡ_j

and looking back through the last m steps keeps the last m terms of MAML's last sum. What is left out is of order α².
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations

import pytest
import torch
from quadratics import estimate
from small_tasks import VECTORS, examples, generator, perceptron, random_params
from torch import Tensor

from quickstudy.episode import Episode, Examples, Params, State
from quickstudy.inner import SGD
from quickstudy.learners import GradientLearner
from quickstudy.learners.network import Network

K, SIZE = 4, 6
RATES = (4e-3, 2e-3)
BATCHES = [examples(VECTORS, SIZE, seed) for seed in range(K)]


@dataclass(frozen=True, kw_only=True)
class _ByMinibatches(GradientLearner):
    """Step k sees the k-th minibatch of the support set alone."""

    def step(self, params: Params, state: State, support: Examples) -> State:
        mine = torch.arange(len(support.mask)) // SIZE == state["count"]
        return super().step(params, state, support._replace(mask=support.mask & mine))


def learner(rate: float, steps: int) -> GradientLearner:
    network = Network(perceptron(VECTORS, 3), steps=steps, inner_loop=True)
    return _ByMinibatches(network=network, spec=VECTORS, rule=SGD(lr=rate), steps=steps)


PHI = random_params(learner(0.1, 1).init(generator()))


def flat(params: Params) -> Tensor:
    return torch.cat([params[name].flatten() for name in PHI])


def estimated(name: str, rate: float, order: tuple[int, ...], **options: int) -> Tensor:
    """The estimate where minibatch order[-1] is the query set; Reptile trains on it too, as its last step."""
    parts = [BATCHES[i] for i in order]
    support = Examples(*(torch.cat(column) for column in zip(*parts[:-1], strict=True)))  # type: ignore[arg-type]
    steps = K if name == "reptile" else K - 1
    found = flat(estimate(name, learner(rate, steps), PHI, Episode(support, parts[-1]), **options))
    return found / rate if name == "reptile" else found


def derivatives(batch: Examples) -> tuple[Tensor, Tensor]:
    """ḡ and H̄ of a minibatch at φ, all parameters in one row."""
    network = learner(0.1, 1).network
    shapes = {name: value.shape for name, value in PHI.items()}

    def loss(row: Tensor) -> Tensor:
        pieces = row.split([shape.numel() for shape in shapes.values()])
        params = {name: piece.reshape(shapes[name]) for name, piece in zip(shapes, pieces, strict=True)}
        return VECTORS.target.loss(network(params, batch.x), batch)

    row = flat(PHI)
    return torch.func.grad(loss)(row), torch.func.hessian(loss)(row)


G, H = (torch.stack(both) for both in zip(*map(derivatives, BATCHES), strict=True))


def maml(rate: float, order: tuple[int, ...], last: int = K - 1) -> Tensor:
    *inner, k = order
    curved = sum(H[j] @ G[k] for j in inner[len(inner) - last :]) if last else torch.zeros_like(G[k])
    return G[k] - rate * H[k] @ sum(G[j] for j in inner) - rate * curved


def reptile(rate: float, order: tuple[int, ...]) -> Tensor:
    cross = sum(H[order[i]] @ G[order[j]] for i in range(K) for j in range(i))
    return G.sum(0) - rate * cross


EXPANSIONS: dict[str, tuple[str, dict[str, int], Callable[[float, tuple[int, ...]], Tensor]]] = {
    "MAML": ("unrolled", {}, maml),
    "MAML, recomputed": ("recompute", {}, maml),
    "FOMAML": ("first_order", {}, lambda rate, order: maml(rate, order, 0)),
    "the last step": ("truncated", {"last": 1}, lambda rate, order: maml(rate, order, 1)),
    "the last two steps": ("truncated", {"last": 2}, lambda rate, order: maml(rate, order, 2)),
    "Reptile": ("reptile", {}, reptile),
}


def quarters(left: list[Tensor]) -> None:
    """What is left falls as α²: by four when α is halved."""
    whole, half = (float(part.norm()) for part in left)
    assert whole > 1e-9, "there are terms of second order"
    assert 3.8 < whole / half < 4.2


@pytest.mark.parametrize("case", EXPANSIONS)
def test_estimates_are_their_expansion_but_for_alpha_squared(case: str) -> None:
    name, options, expansion = EXPANSIONS[case]
    order = tuple(range(K))
    quarters([estimated(name, rate, order, **options) - expansion(rate, order) for rate in RATES])


@pytest.mark.parametrize(
    ("name", "gradients", "inner"),
    [("unrolled", 1, 2 * (K - 1)), ("first_order", 1, K - 1), ("reptile", K, K * (K - 1) / 2)],
)
def test_over_all_orders_the_mean_weighs_avggrad_and_avggradinner_as_in_the_paper(
    name: str, gradients: float, inner: float
) -> None:
    """AvgGrad = E ḡ_i and AvgGradInner = E H̄_i ḡ_j = E ½ ∂/∂φ (ḡ_i · ḡ_j), i ≠ j."""
    avg_grad = G.mean(0)
    avg_grad_inner = sum(H[i] @ G[j] for i, j in permutations(range(K), 2)) / (K * (K - 1))
    left = []
    for rate in RATES:
        mean = torch.stack([estimated(name, rate, order) for order in permutations(range(K))]).mean(0)
        left.append(mean - (gradients * avg_grad - rate * inner * avg_grad_inner))
    quarters(left)
