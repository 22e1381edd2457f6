"""How many steps a second agents are trained on, beside a loop written by hand in plain PyTorch.

`python -m studies.agents_speed`: RL² with a GRU of 64 on the grid with a hidden goal, on one thread, in turn. Each
trial is played once, and gone through once or three times (`reuse`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.timing import Effort, alternate, repeated
from quickstudy.engine.process import trains_on
from quickstudy.registry import recipes
from quickstudy.training.build import build
from quickstudy.training.loop import Training
from studies.common import store

TASKS, EPISODES, HORIZON, SIDE, PARTS = 1024, 4, 15, 5, 4
STEPS = TASKS * EPISODES * HORIZON
EFFORT = Effort(rounds=15, turn=1.0, limit=240.0)
MOVES = torch.tensor([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)])


def library(reuse: int, place: Path) -> Callable[[], object]:
    """An outer step of the recipe's run."""
    recipe = recipes["rl-gridworld"]()
    config = replace(recipe, seed=0, device="cpu", meta_batch=TASKS, parts=PARTS, reuse=reuse, iterations=10**6)
    steps = Training(build(config), config, place, lambda *_: None).steps
    return lambda: steps.take(0)


class Network(nn.Module):
    """An encoder of a step, a GRU and a linear layer, for five actions and a value."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.core, self.head = nn.Linear(9, 32), nn.GRU(32, 64), nn.Linear(64, 6)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """(T, n, 6) for steps x (T, n, 9) after h (1, n, 64), and what is remembered after them."""
        states, h = self.core(torch.tanh(self.encoder(x)), h)
        return self.head(states), h


@dataclass
class ByHand:
    """Proximal policy optimisation as one would write it: everything in tensors, a trial in each lane, Adam."""

    reuse: int
    network: Network = field(default_factory=Network)

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=2e-3)

    def __call__(self) -> None:
        x, action, reward, said = self.played()
        values = 10 * said[..., -1]
        advantage, later = torch.empty_like(reward), torch.zeros_like(reward[0])
        for t in range(len(reward) - 1, -1, -1):
            following = values[t + 1] if t + 1 < len(reward) else torch.zeros_like(later)
            advantage[t] = later = reward[t] + following - values[t] + later
        target = (advantage + values) / 10
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        before = said[..., :-1].log_softmax(-1).gather(-1, action[..., None])[..., 0]
        for _ in range(self.reuse):
            for lanes in torch.arange(TASKS).chunk(PARTS):
                self.learn(*(each[:, lanes] for each in (x, action, advantage, target, before)))

    @torch.no_grad()
    def played(self) -> tuple[Tensor, ...]:
        goal = torch.randint(1, SIDE**2, (TASKS,))
        h, before = torch.zeros(1, TASKS, 64), torch.zeros(TASKS, 5)
        reward, place, rows = torch.zeros(TASKS), torch.zeros(TASKS, 2, dtype=torch.int64), []
        for t in range(EPISODES * HORIZON):
            if t % HORIZON == 0:
                place = torch.zeros_like(place)
            first = torch.full((TASKS, 1), float(t % HORIZON == 0))
            x = torch.cat([place / (SIDE - 1), before, reward[:, None], first], 1)
            said, h = self.network(x[None], h)
            action = torch.multinomial(said[0, :, :-1].softmax(-1), 1)[:, 0]
            place = (place + MOVES[action]).clamp(0, SIDE - 1)
            reward = torch.where(place[:, 0] * SIDE + place[:, 1] == goal, 1.0, -0.1)
            before = F.one_hot(action, 5).float()
            rows.append((x, action, reward, said[0]))
        return tuple(torch.stack(column) for column in zip(*rows, strict=True))

    def learn(self, x: Tensor, action: Tensor, advantage: Tensor, target: Tensor, before: Tensor) -> None:
        said, _ = self.network(x, torch.zeros(1, x.shape[1], 64))
        chances = said[..., :-1].log_softmax(-1)
        ratio = (chances.gather(-1, action[..., None])[..., 0] - before).exp()
        gain = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
        entropy = -(chances.exp() * chances).sum(-1)
        loss = (0.25 * (said[..., -1] - target).square() - gain - 0.01 * entropy).mean()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 0.5)
        self.optimizer.step()


def agents_speed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    trains_on(torch.device("cpu"))  # for both: memory that is freed stays
    with TemporaryDirectory() as place:
        who: dict[str, Callable[[], object]] = {}
        for reuse in (1, 3):
            who[f"quickstudy, {reuse}"] = library(reuse, Path(place) / str(reuse))
            who[f"by hand, {reuse}"] = ByHand(reuse)
        took = alternate({name: repeated(call) for name, call in who.items()}, EFFORT)
    found = {
        name: {"steps a second": STEPS / one.seconds, "low": STEPS / one.high, "high": STEPS / one.low}
        for name, one in took.items()
    }
    for name, one in found.items():
        print(name, {what: round(value) for what, value in one.items()}, flush=True)
    store("agents_speed", {"found": found, "turns": EFFORT.rounds})


if __name__ == "__main__":
    agents_speed()
