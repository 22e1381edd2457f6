"""Films: what an agent does in one environment, step by step, as animated pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.episode import State
from quickstudy.errors import ConfigError, MissingExtra
from quickstudy.rl.play import Stage

MOST = 400
"""Frames of a film, if not said otherwise."""
_SIDE, _TEXT, _GAP = 240, 30, 12  # pixels
_MILLISECONDS = 120  # of a frame
_INK = (20, 20, 20)


class Frame(NamedTuple):
    """picture: (height, width, 3) in [0, 1], before the step. episode: its number, from 0. reward: of the step."""

    picture: Tensor
    episode: int
    reward: float


Reels = Mapping[str, Sequence[Frame]]
"""What several did in the same environment, by who that is: a frame for each step."""


@dataclass(frozen=True)
class Filmed(Stage):
    """A stage on which what happens in the first lane is drawn. reels: the frames of each play, in their order.

    It asks the environment for pictures: see `Environment.drawable`.
    """

    reels: list[list[Frame]] = field(default_factory=list)
    _seen: list[Tensor] = field(default_factory=list)

    def play(self, *given: Any, **options: Any) -> Any:
        self.reels.append([])
        return super().play(*given, **options)

    def sees(self, state: State, there: Tensor) -> None:
        self._seen.clear()
        if bool(there[0]):
            first = ({name: value[:1] for name, value in one.items()} for one in (self.task, state))
            self._seen.append(self.environment.picture(*first)[0].cpu())

    def saw(self, episode: Tensor, reward: Tensor) -> None:
        for picture in self._seen:
            self.reels[-1].append(Frame(picture, int(episode[0]), float(reward[0])))


def returns(reel: Sequence[Frame]) -> list[float]:
    """The return of each episode of a reel."""
    found: dict[int, float] = {}
    for frame in reel:
        found[frame.episode] = found.get(frame.episode, 0.0) + frame.reward
    return [found[episode] for episode in sorted(found)]


def longest(reels: Reels) -> int:
    """How many steps the longest of these reels has."""
    return max(len(reel) for reel in reels.values())


def gif(reels: Reels, most: int = MOST) -> bytes:
    """An animated GIF of all reels side by side, each with its episode and the return of it so far.

    most: frames; what follows is left out.
    """
    images, buffer = list(_images(reels, most)), io.BytesIO()
    images[0].save(
        buffer, "GIF", save_all=True, append_images=images[1:], duration=_MILLISECONDS, loop=0, optimize=True
    )
    return buffer.getvalue()


def require_writable(path: Path) -> None:
    """ConfigError where a film cannot have this name, and MissingExtra where what writes it is not installed."""
    kind = path.suffix.lower()
    if kind not in (".gif", ".mp4"):
        raise ConfigError(
            f"A film is an animated GIF or a video in MP4, found {path}. Let its name end in .gif or .mp4."
        )
    if kind == ".mp4":
        _av()


def write(reels: Reels, path: Path, most: int = MOST) -> None:
    """The film of all reels side by side, at most so many frames: an animated GIF, or MP4 where the name ends so."""
    require_writable(path)
    if path.suffix.lower() == ".gif":
        path.write_bytes(gif(reels, most))
        return
    import numpy as np

    with _av().open(str(path), "w") as video:
        stream: Any = None
        for image in _images(reels, most):
            if stream is None:
                stream = video.add_stream("libx264", rate=round(1000 / _MILLISECONDS))
                stream.width, stream.height = (side - side % 2 for side in image.size)  # which the format asks for
                stream.pix_fmt = "yuv420p"
            pixels = np.asarray(image)[: stream.height, : stream.width]
            video.mux(stream.encode(_av().VideoFrame.from_ndarray(pixels, format="rgb24")))
        video.mux(stream.encode())


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtra("av", "video", "Writing MP4") from error
    return av


def _images(reels: Reels, most: int) -> Iterator[Any]:
    return (_side_by_side(reels, i) for i in range(min(longest(reels), most)))


def _side_by_side(reels: Reels, index: int) -> Any:
    from PIL import Image, ImageDraw

    shown = [(name, reel, min(index, len(reel) - 1)) for name, reel in reels.items()]
    height = max(_high(reel[at].picture) for _, reel, at in shown)
    whole = Image.new("RGB", (len(shown) * (_SIDE + _GAP) + _GAP, height + 2 * _TEXT + _GAP), (255, 255, 255))
    draw = ImageDraw.Draw(whole)
    for place, (name, reel, at) in enumerate(shown):
        frame, left = reel[at], _GAP + place * (_SIDE + _GAP)
        pixels = (frame.picture * 255).round().to(torch.uint8).numpy()
        how = Image.Resampling.NEAREST if pixels.shape[1] <= _SIDE else Image.Resampling.BOX
        whole.paste(Image.fromarray(pixels).resize((_SIDE, _high(frame.picture)), how), (left, _TEXT))
        draw.text((left, 8), name, fill=_INK)
        total = sum(one.reward for one in reel[: at + 1] if one.episode == frame.episode)
        draw.text((left, height + _TEXT + 8), f"episode {frame.episode + 1}   return {total:.2f}", fill=_INK)
    return whole


def _high(picture: Tensor) -> int:
    """How high a picture is drawn, in pixels."""
    return round(_SIDE * picture.shape[0] / picture.shape[1])
