"""A learner of your own: every support example votes for its class, near ones more than far ones.

python examples/own_learner.py        # checks it, then trains it for 500 steps
python examples/own_learner.py 50     # fewer steps
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.episode import Features, Params, State
from quickstudy.learners import Learner, Network
from quickstudy.spec import TaskSpec
from quickstudy.testing import check_learner


@dataclass(frozen=True, kw_only=True)
class KernelLearner(Learner):
    """The logit of a class is log Σ exp(−‖z − zᵢ‖²) over its support examples zᵢ. Nothing is stored on the object."""

    def init(self, generator: torch.Generator) -> Params:
        return self.network.init(generator)

    def adapt(self, params: Params, support: qs.Examples) -> State:
        return {"z": self.network(params, support.x), "y": support.y, "mask": support.mask}

    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        z = self.network(params, x)
        near = -(z[:, None] - state["z"]).square().sum(dim=2)  # (queries, support)
        classes = torch.arange(self.spec.ways, device=z.device)
        votes = (state["y"] == classes[:, None]) & state["mask"]  # (ways, support); padding has no vote
        return torch.where(votes, near[:, None], -1e9).logsumexp(dim=2)  # (queries, ways)


@qs.registry.learners.register("kernel")
def kernel(module: nn.Module, spec: TaskSpec) -> KernelLearner:
    """Votes of all support examples, weighted by distance in a learned embedding."""
    return KernelLearner(network=Network(module), spec=spec)


def check() -> None:
    """Run the conformance suite on small two-class tasks, with a smooth network for the finite differences."""
    tasks = qs.tasks.linear(dimensions=3).sampled(qs.Sampling(ways=2, shots=3, queries=4))
    module = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4))
    check_learner(kernel(module, tasks.spec), tasks.episodes("train", torch.arange(3)))
    print("The learner keeps the contract.")


def main(iterations: int = 500) -> None:
    check()
    config = replace(
        qs.recipes.linear_maml(),
        name="own-learner",
        learner=qs.registry.learners.part("kernel"),
        iterations=iterations,
        protocols=(),
    )
    run = qs.train(config)
    print(run.evaluate(episodes=100))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
