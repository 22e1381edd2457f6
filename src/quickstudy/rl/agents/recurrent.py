"""RL²: an agent whose memory is the learning algorithm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.episode import Examples, Features, Params, State
from quickstudy.errors import ConfigError
from quickstudy.hints import Size
from quickstudy.learners.network import Network
from quickstudy.models.readers.base import features_of
from quickstudy.registry import learners
from quickstudy.rl.agents.gated import gated, gated_sequence
from quickstudy.rl.agents.proximal import ProximalAgent
from quickstudy.rl.play import Memory
from quickstudy.spec import TaskSpec


class GatedPolicy(nn.Module):
    """A gated recurrent unit (Cho et al. 2014) over what an encoder makes of each step, and a linear layer after it.

    Called with {'x': (n, …), 'begin': (width,)}, the steps of one trial in their order and the memory before them, it
    gives (n, outputs) and the memories after the steps, (n, width); with {'x': (n, …), 'h': (n, width)} the same of one
    step in each of n lanes. 'stays' (n,) of 0 and 1, if given, is what the memory is multiplied by before each step.
    """

    def __init__(self, encoder: nn.Module, features: int, outputs: int, width: int) -> None:
        super().__init__()
        self.encoder, self.width = encoder, width
        self.enter, self.again = nn.Linear(features, 3 * width), nn.Linear(width, 3 * width)
        self.head = nn.Linear(width, outputs)

    def forward(self, request: dict[str, Any]) -> Any:
        z = self.encoder(request["x"]).flatten(1)
        weight, bias = self.again.weight, self.again.bias
        if "h" in request:
            h = gated(self.enter(z), request["h"], weight, bias)
            return self.head(h), h
        stays = request["stays"] if "stays" in request else torch.ones_like(z[:, 0])
        h = gated_sequence(z, self.enter.weight, self.enter.bias, weight, bias, stays, request["begin"])
        return self.head(h), h


@dataclass(frozen=True, kw_only=True)
class RecurrentAgent(ProximalAgent):
    """φ is a network with a memory, and ψ what is remembered of the steps of a task.

    It is trained on whole trials (Duan et al. 2016). wiped: the memory is emptied where an episode begins, which is
    what an agent is worth that learns nothing from one for the next.
    """

    wiped: bool = False

    forgets = "its memory wiped"

    def blank(self) -> RecurrentAgent:
        return replace(self, wiped=True)

    @property
    def across(self) -> bool:
        return not self.wiped

    @property
    def _width(self) -> int:
        module: Any = self.network.module
        return int(module.width)

    def memory(self, state: State, count: int, device: torch.device) -> Memory:
        h = state["h"] if state else torch.zeros(self._width, device=device)
        return {"h": h.expand(count, -1)}

    def act(self, params: Params, state: State, memory: Memory, x: Features, first: Tensor) -> tuple[Memory, Tensor]:
        h = torch.where(first[:, None], 0.0, memory["h"]) if self.wiped else memory["h"]
        prediction, after = self.network(params, {"x": x, "h": h})  # type: ignore[dict-item]
        return {"h": after}, prediction

    def adapt(self, params: Params, support: Examples) -> State:
        """What is remembered after the steps of the support set, 'h' (width,), and what was done in the last of them
        and what that brought, which the memory is told at the step that follows: 'done' (coding,) and 'paid' ()."""
        empty = support.y.new_zeros(self._width)
        _, h = self.network(params, {"x": support.x, "begin": empty})  # type: ignore[dict-item]
        count = support.mask.sum()
        last = h.index_select(0, (count - 1).clamp(min=0).view(1))[0]
        told = self.actions.outcome(support.y.index_select(0, (count - 1).clamp(min=0).view(1)))
        known = (count > 0).to(h.dtype)
        done, paid = known * self.actions.code(told.action, h.dtype)[0], known * told.reward[0]
        return {"h": torch.where(count > 0, last, empty).detach(), "done": done, "paid": paid}

    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        """Of the steps of one trial in their order."""
        prediction: Tensor = self.network(params, {"x": x, "begin": state["h"]})[0]  # type: ignore[dict-item]
        return prediction


@learners.register("rl2", acts=True)
def rl2(
    module: nn.Module,
    spec: TaskSpec,
    *,
    width: Size = 64,
    discount: float = 0.99,
    trace: float = 0.95,
    unit: float = 1.0,
    clip: float = 0.2,
    entropy: float = 0.01,
    value: float = 0.5,
) -> RecurrentAgent:
    """RL² (Duan et al. 2016): a recurrent network that acts, and whose memory over a trial is what it has learned.

    module: an encoder of single steps, (n, …) to (n, D). width: of the memory. discount: γ. trace: λ of advantage
    estimates. unit: about what an episode brings, in which values are learned: of others, their error outweighs what is
    to be gained. clip, entropy, value: of proximal policy optimisation.
    """
    if not getattr(spec.format, "past", 1):
        raise ConfigError(
            "rl2 learns from what it did last and what that brought, and these steps do not tell it. Tell it: "
            "past=True (--tasks.past)."
        )
    policy = GatedPolicy(module, features_of(module, spec.format), spec.outputs, width)
    return RecurrentAgent(
        network=Network(policy),
        spec=spec,
        discount=discount,
        trace=trace,
        unit=unit,
        clip=clip,
        entropy=entropy,
        value=value,
    )
