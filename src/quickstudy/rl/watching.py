"""Watching an agent: one task as it meets it, before and after it has learned, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.episode import Params, State
from quickstudy.rl.agents.base import Agent
from quickstudy.rl.play import Stage
from quickstudy.rl.source import EnvironmentSource
from quickstudy.tasks.base import Source
from quickstudy.tasks.wrapped import innermost

_SIDE, _TEXT, _GAP, _MOST = 240, 30, 12, 400  # pixels, pixels, pixels, frames
_MILLISECONDS = 120


class Frame(NamedTuple):
    """picture: (height, width, 3) in [0, 1], before the step. episode: its number, from 0. reward: of the step."""

    picture: Tensor
    episode: int
    reward: float


@dataclass(frozen=True)
class Filmed(Stage):
    """A stage on which what happens in the first lane is drawn. reels: the frames of each play, in their order."""

    reels: list[list[Frame]] = field(default_factory=list)

    def play(self, *given: Any, **options: Any) -> Any:
        self.reels.append([])
        return super().play(*given, **options)

    def saw(self, state: State, episode: Tensor, reward: Tensor, there: Tensor) -> None:
        if bool(there[0]):
            first = ({name: value[:1] for name, value in one.items()} for one in (self.task, state))
            picture = self.environment.picture(*first)[0].cpu()
            self.reels[-1].append(Frame(picture, int(episode[0]), float(reward[0])))


def filmed(source: EnvironmentSource, agent: Agent, params: Params, split: str, index: int) -> list[Frame]:
    """What the agent does in the episodes of one task that count: a frame for each step."""
    stage = source.stage(split, torch.tensor([index]))
    film = Filmed(stage.environment, stage.task, stage.keys, stage.spec)
    agent.collected(params, film, source.sampling)
    return film.reels[-1]


def before_and_after(
    source: EnvironmentSource, agent: Agent, params: Params, split: str, index: int
) -> dict[str, list[Frame]]:
    """Frames of the agent as it is when it makes nothing of its task, and as it learns."""
    agents = {agent.forgets: agent.blank(), "as it learns": agent}
    return {name: filmed(source, one, params, split, index) for name, one in agents.items()}


def write_gif(reels: dict[str, list[Frame]], path: Path) -> None:
    """An animated GIF of all reels side by side, each with its episode and the return of it so far."""
    count = min(max(len(reel) for reel in reels.values()), _MOST)
    images = [_side_by_side(reels, i) for i in range(count)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=_MILLISECONDS, loop=0)


def _side_by_side(reels: dict[str, list[Frame]], index: int) -> Any:
    from PIL import Image, ImageDraw

    shown = [(name, reel, min(index, len(reel) - 1)) for name, reel in reels.items()]
    height = max(round(_SIDE * r[i].picture.shape[0] / r[i].picture.shape[1]) for _, r, i in shown)
    whole = Image.new("RGB", (len(shown) * (_SIDE + _GAP) + _GAP, height + 2 * _TEXT + _GAP), (255, 255, 255))
    draw = ImageDraw.Draw(whole)
    for place, (name, reel, at) in enumerate(shown):
        frame, left = reel[at], _GAP + place * (_SIDE + _GAP)
        pixels = (frame.picture * 255).round().to(torch.uint8).numpy()
        high = round(_SIDE * pixels.shape[0] / pixels.shape[1])
        whole.paste(Image.fromarray(pixels).resize((_SIDE, high), Image.Resampling.NEAREST), (left, _TEXT))
        draw.text((left, 8), name, fill=(20, 20, 20))
        total = sum(one.reward for one in reel[: at + 1] if one.episode == frame.episode)
        draw.text((left, height + _TEXT + 8), f"episode {frame.episode + 1}   return {total:.2f}", fill=(20, 20, 20))
    return whole


def returns(reel: Sequence[Frame]) -> list[float]:
    """The return of each episode of a reel."""
    found: dict[int, float] = {}
    for frame in reel:
        found[frame.episode] = found.get(frame.episode, 0.0) + frame.reward
    return [found[episode] for episode in sorted(found)]


def source_of(source: Source) -> EnvironmentSource:
    """The environments within whatever is around them."""
    (inner,) = innermost(source)
    assert isinstance(inner, EnvironmentSource)
    return inner
