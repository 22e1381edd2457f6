"""RL²: an agent whose memory is the learning algorithm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from quickstudy.entries import READ, prefixed, with_prefix
from quickstudy.episode import Examples, Features, Params, State, leaves
from quickstudy.errors import ConfigError
from quickstudy.hints import Size
from quickstudy.learners.copies import copied
from quickstudy.learners.network import Network
from quickstudy.models.readers.base import features_of
from quickstudy.registry import learners
from quickstudy.rl.agents.base import clipped_loss
from quickstudy.rl.agents.cores import CORES, Core, after
from quickstudy.rl.agents.proximal import ProximalAgent
from quickstudy.rl.agents.surrogates import per_row
from quickstudy.rl.play import Memory
from quickstudy.spec import TaskSpec

Kind = Literal["gru", "lstm", "fast"]
"""What a memory is. 'gru': a gated recurrent unit. 'lstm': long short-term memory. 'fast': fast weights, a matrix that
linear attention reads, to which each step adds."""

_LAST = "last"


class RecurrentPolicy(nn.Module):
    """A core over what an encoder makes of each step and of the one before it, and what it says of both.

    A step tells what was done before it and what that brought, and the one before where that was: a memory of what
    leads where needs both together.

    Called with {'x': (n, …), 'state.<name>': (n, …)}, one step in each of n lanes and the memory before it, it gives
    (n, outputs + rules) and the memory after it; with {'steps': (T, …), 'state.<name>': (…), 'count': ()} the same of
    the steps of one trial in their order, and the memory after `count` of them. core: of twice the encoder's features.
    hidden: of a layer that reads the memory and the step itself; 0 for one linear layer after the core.

    rules: how many numbers of the task's rules the memory is asked for; they follow the outputs. The memory and what it
    reads are then trained by that alone: an encoder of the same kind, `seer`, sees for the layer, whose gradients reach
    no further. What it sees and what the layer finds go on with their products with the guess: what is to be done where
    a rule is swapped, or two of them, is as easily learned as where they are not.
    """

    def __init__(self, encoder: nn.Module, core: Core, outputs: int, hidden: int = 0, rules: int = 0) -> None:
        super().__init__()
        self.encoder, self.core, self.both, self.rules = encoder, core, hidden > 0, rules
        if self.both:
            self.hidden = nn.Linear(core.width + (1 + rules) * (core.features // 2), hidden)
        if rules:
            self.seer, self.guess = copied(encoder), nn.Linear(core.width, rules)
        self.head = nn.Linear((1 + rules) * hidden or core.width, outputs)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors of one lane's memory, by name: the core's, and 'last' (D,), what was made of the step before."""
        return {**self.core.shapes, _LAST: (self.core.features // 2,)}

    def _said(self, known: Tensor, z: Tensor, x: Any) -> Tensor:
        """Outputs and guesses (n, outputs + rules). z: what the memory was given of steps x."""
        if self.rules:
            guess, seen = self.guess(known), self.seer(x).flatten(1)
            sure = guess.detach().clamp(-1, 1)
            read = self.hidden(torch.cat([known.detach(), _with_products(seen, sure)], -1)).relu()
            return torch.cat([self.head(_with_products(read, sure)), guess], -1)
        said: Tensor = self.head(self.hidden(torch.cat([known, z], -1)).relu() if self.both else known)
        return said

    def forward(self, request: dict[str, Any]) -> tuple[Tensor, Memory]:
        before = prefixed(READ, request)
        last = before.pop(_LAST)
        if "x" in request:
            z = self.encoder(request["x"]).flatten(1)
            known, now = self.core.step(torch.cat([z, last], 1), before)
            return self._said(known, z, request["x"]), now | {_LAST: z}
        z, count = self.encoder(request["steps"]).flatten(1), request["count"]
        known, now = self.core.sequence(torch.cat([z, torch.cat([last[None], z[:-1]])], 1), before, count)
        return self._said(known, z, request["steps"]), now | {_LAST: after(count, z, last)}


def _with_products(features: Tensor, by: Tensor) -> Tensor:
    """Features (n, D), and their products with each of the numbers `by` (n, K): (n, (1 + K) · D), divided by 1 + K, so
    that a layer over all of them learns as fast as one over the features alone."""
    products = (by[..., None] * features[..., None, :]).flatten(-2)
    return torch.cat([features, products], -1) / (1 + by.shape[-1])


@dataclass(frozen=True, kw_only=True)
class RecurrentAgent(ProximalAgent):
    """φ is a network with a memory, and ψ what is remembered of the steps of a task.

    It is trained on whole trials (Duan et al. 2016). wiped: the memory is emptied where an episode begins, which is
    what an agent is worth that learns nothing from one for the next. belief: the weight of a further loss: the network
    ends in further outputs, which are to say what the environment tells of the task's rules.
    """

    wiped: bool = False
    belief: float = 0.0

    forgets = "its memory wiped"

    def blank(self) -> RecurrentAgent:
        return replace(self, wiped=True)

    @property
    def across(self) -> bool:
        return not self.wiped

    def _asked(self, params: Params, request: Features, memory: Memory) -> tuple[Tensor, Memory]:
        """Predictions for steps, and the memory after them."""
        said: Any = self.network(params, request | with_prefix(READ, memory))  # type: ignore[operator]
        return said  # type: ignore[no-any-return]

    def _empty(self, device: torch.device, dtype: torch.dtype | None = None) -> Memory:
        """The memory of one lane before its first step."""
        module: Any = self.network.module
        return {name: torch.zeros(shape, device=device, dtype=dtype) for name, shape in module.shapes.items()}

    def memory(self, state: State, count: int, device: torch.device) -> Memory:
        known = prefixed(READ, state) if state else self._empty(device)
        return {name: value.expand(count, *value.shape) for name, value in known.items()}

    def act(self, params: Params, state: State, memory: Memory, x: Features, first: Tensor) -> tuple[Memory, Tensor]:
        if self.wiped:
            memory = {n: torch.where(first.view(-1, *[1] * (v.dim() - 1)), 0.0, v) for n, v in memory.items()}
        prediction, after = self._asked(params, {"x": x}, memory)  # type: ignore[dict-item]
        return after, prediction[..., : self.spec.outputs]

    def adapt(self, params: Params, support: Examples) -> State:
        """What is remembered after the steps of the support set, 'state.<name>' as `RecurrentPolicy.shapes` names it,
        and what was done in the last of them and what that brought, which the memory is told at the step that follows:
        'done' (coding,) and 'paid' ()."""
        count, empty = support.mask.sum(), self._empty(support.y.device, support.y.dtype)
        _, after = self._asked(params, {"steps": support.x, "count": count}, empty)  # type: ignore[dict-item]
        told = self.actions.outcome(support.y.index_select(0, (count - 1).clamp(min=0).view(1)))
        known = (count > 0).to(support.y.dtype)
        done, paid = known * self.actions.code(told.action, known.dtype)[0], known * told.reward[0]
        return with_prefix(READ, {name: value.detach() for name, value in after.items()}) | {"done": done, "paid": paid}

    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        """Of the steps of one trial in their order."""
        return self._told(params, state, x)[..., : self.spec.outputs]

    def _told(self, params: Params, state: State, x: Features) -> Tensor:
        """What is predicted of the steps of one trial, and what the rules are thought to be, (n, outputs + told)."""
        first = leaves(x)[0]
        count = torch.full((), len(first), device=first.device)
        return self._asked(params, {"steps": x, "count": count}, prefixed(READ, state))[0]  # type: ignore[dict-item]

    def judge(self, params: Params, state: State, query: Examples) -> tuple[Tensor, Tensor]:
        if not self.belief:
            return super().judge(params, state, query)
        target, outputs = self.actions, self.spec.outputs
        said, told = self._told(params, state, query.x), self.actions.outcome(query.y)
        guess, prediction = 0.5 * (said[..., outputs:] - told.rules).square().sum(-1), said[..., :outputs]
        loss = clipped_loss(self, target, prediction, told, query.mask) + self.belief * per_row(guess, query.mask)
        return loss, target.score(prediction, query)


@learners.register("rl2", acts=True)
def rl2(
    module: nn.Module,
    spec: TaskSpec,
    *,
    memory: Kind = "gru",
    width: Size = 64,
    hidden: int = 0,
    discount: float = 0.99,
    trace: float = 0.95,
    unit: float = 1.0,
    clip: float = 0.2,
    entropy: float = 0.01,
    value: float = 0.5,
    belief: float = 0.0,
) -> RecurrentAgent:
    """RL² (Duan et al. 2016): a recurrent network that acts, and whose memory over a trial is what it has learned.

    module: an encoder of single steps, (n, …) to (n, D). memory: a gated recurrent unit, long short-term memory, or
    fast weights. width: of the memory. hidden: of a layer after it that reads what is known and what is seen together,
    for agents that must do another thing in each task with the same in view; 0 for none. discount: γ. trace: λ of
    advantage estimates. unit: about how much what is still to come differs from step to step, in which values are
    learned: in a smaller one their error outweighs what is to be gained, in a larger one they are hardly learned.
    clip, entropy, value: of proximal policy optimisation. belief: the weight of a further loss, of guessing at each
    step what training is told of the task's rules (Humplik et al. 2019, "Meta reinforcement learning as task
    inference"), for environments that tell, such as the arcade; it needs `hidden`. 0 for none. In use nothing is told.
    """
    told = spec.target.require_actions("rl2", "Use a learner that does not act: 'maml', 'protonet'.").rules
    if belief < 0:
        raise ConfigError(f"belief is the weight of guessing a task's rules, found {belief}. Give 0 or more.")
    if belief and not told:
        raise ConfigError(
            f"belief={belief} is the weight of guessing a task's rules, and these environments tell none. Leave belief "
            "out; or let an environment of yours tell them: actions made with rules=R, and a method rules(task) that "
            "gives (n, R) numbers."
        )
    if not getattr(spec.format, "past", 1):
        raise ConfigError(
            "rl2 learns from what it did last and what that brought, and these steps do not tell it. Tell it: "
            "past=True (--tasks.past)."
        )
    if belief and not hidden:
        raise ConfigError(
            "With belief a layer reads the guess of the rules and what is seen together, and hidden=0 makes none. Give "
            "its width: hidden=128 (--learner.hidden 128)."
        )
    if hidden < 0:
        raise ConfigError(f"A layer has 1 unit or more, or there is none: found hidden={hidden}. Give 0 or more.")
    core = CORES[memory](2 * features_of(module, spec.format), width)
    return RecurrentAgent(
        network=Network(RecurrentPolicy(module, core, spec.outputs, hidden, told if belief else 0)),
        spec=spec,
        discount=discount,
        trace=trace,
        unit=unit,
        clip=clip,
        entropy=entropy,
        value=value,
        belief=belief,
    )
