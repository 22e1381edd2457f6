"""Masks: the class of every pixel of an image (semantic segmentation)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.episode import Examples, State
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.masked import masked_mean, one_hot
from quickstudy.registry import targets
from quickstudy.targets.answers.masks import MaskAnswer, told_shares
from quickstudy.targets.base import Target
from quickstudy.targets.classes import ABSENT, Classes, renumbered, united_names
from quickstudy.targets.distribution import Distribution
from quickstudy.targets.maps import BACKGROUND, IGNORED, LabelMaps, as_maps
from quickstudy.targets.metric import Metric
from quickstudy.targets.overlap import Overlap
from quickstudy.targets.reported import Figure, Hits
from quickstudy.targets.units import Units


@targets.register("masks")
@dataclass(frozen=True, kw_only=True)
class Masks(Target):
    """One of N classes for each pixel. Labels are ids in [0, N), int64 (n, size, size), or `ignore`; predictions are
    logits (n, N, size, size).

    The headline is the mean over classes of the intersection over union of what is said and what is so, TP / (TP + FP +
    FN), each over all pixels of a task's queries (Everingham et al. 2015). With a `background`, which is class 0 and
    everything else, it is the mean over the others, as usual for few shots (Shaban et al. 2017). A class that is
    neither there nor said does not count; a task where this is so of every class scores 1.

    ways: N, the background among them; 2 until tasks say otherwise. size: of a side, in pixels. ignore: the id of
    pixels that count nowhere. background: whether class 0 is everything else.
    """

    ways: int = 2
    size: int = 64
    ignore: int = 255
    background: bool = True

    metric = Metric("iou", "IoU", "mean intersection over union", higher_is_better=True, percent=True, short="IoU")
    relabels = True
    promises = "pixels"
    guess = "always the commonest class"

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 <= self.ignore < 1 << 15:
            raise ConfigError(
                f"size must be at least 1 and ignore in [0, {1 << 15}), found size={self.size} and "
                f"ignore={self.ignore}."
            )
        if self.ways > self.ignore:
            raise ConfigError(
                f"The ids of {self.ways} classes reach ignore={self.ignore}. Give pixels that count nowhere a larger "
                "id."
            )

    @property
    def outputs(self) -> int:
        return self.ways * self.size**2

    @property
    def shape(self) -> tuple[int, ...]:
        return self.grid

    @property
    def grid(self) -> tuple[int, ...]:
        return self.size, self.size

    @property
    def prediction_shape(self) -> tuple[int, ...]:
        return self.ways, *self.grid

    def __str__(self) -> str:
        return f"masks of {self.ways} classes"

    def at(self, ways: int) -> Masks:
        return replace(self, ways=ways)

    def of(self, examples: Examples) -> Masks:
        there = examples.y[self._valid(examples)]
        return self.at(max(int(there.max()) + 1 if there.numel() else 0, 2))

    def _valid(self, examples: Examples) -> Tensor:
        """Which pixels count, (n, size, size)."""
        return (examples.y != self.ignore) & examples.mask[:, None, None]

    def _members(self, ids: Tensor, valid: Tensor) -> Tensor:
        """Of which class each pixel is, (n, size, size, N) bool; of none where it does not count."""
        return one_hot(ids, self.ways) & valid[..., None]

    def check(self, y: Tensor, name: str, lead: int) -> None:
        if tuple(y.shape[lead:]) != self.shape:
            raise ShapeError(
                f"{name} has the shape {tuple(y.shape[lead:])} after its first {lead} axes, but a mask has the shape "
                f"{self.shape}: the id of a class for each pixel. Bring masks to the size of their images, and turn "
                "one-hot ones into y.argmax(1)."
            )
        if y.dtype != torch.int64:
            raise ShapeError(f"{name} holds class ids and must be int64, found {y.dtype}. Use y.long().")
        wrong = (y != self.ignore) & ((y < 0) | (y >= self.ways))
        if bool(wrong.any()):
            raise DataError(
                f"{name} holds the class id {int(y[wrong][0])}, but these are masks of {self.ways} classes: ids must "
                f"lie in [0, {self.ways}), or be {self.ignore} where a pixel does not count. Correct the masks."
            )

    def encode(self, labels: Any) -> tuple[Tensor, tuple[str, ...]]:
        """Masks (n, size, size) of whole numbers, one value for each class; or `LabelMaps`, whose classes have names.

        Pixels of value `ignore` count nowhere, but in masks of 0 and 255 alone, of which 255 is the foreground.
        """
        maps = as_maps(labels, self.ignore, self.background)
        empty = (maps.ids == IGNORED).flatten(1).all(1)
        if bool(empty.any()):
            raise DataError(
                f"The mask of example {int(empty.nonzero()[0])} labels no pixel: all are to be ignored. Drop it, or "
                "label some."
            )
        if self.background and maps.names[:1] != (BACKGROUND,):
            shifted = torch.where(maps.ids == IGNORED, maps.ids, maps.ids + 1)
            maps = LabelMaps(shifted, (BACKGROUND, *maps.names))
        return self._ids(maps.ids), maps.names

    def _ids(self, ids: Tensor) -> Tensor:
        return torch.where(ids == IGNORED, self.ignore, ids.long())

    def united(self, parts: Sequence[tuple[Tensor, Sequence[str]]]) -> tuple[Tensor, tuple[str, ...]]:
        before = (BACKGROUND,) if self.background else ()
        names = (*before, *united_names([[name for name in own if name not in before] for _, own in parts]))
        return torch.cat([renumbered(y, own, names) for y, own in parts]), names

    def forgetting(
        self, y: Tensor, names: Sequence[str], classes: Sequence[str]
    ) -> tuple[Tensor, Tensor, tuple[str, ...]]:
        """Pixels of a forgotten class are background, or, where there is none, count nowhere."""
        if BACKGROUND in classes:
            raise ConfigError(f"The {BACKGROUND} is what is of no other class, and cannot be forgotten. Name others.")
        there = set(y.unique().tolist())  # type: ignore[no-untyped-call]
        left = tuple(
            n for i, n in enumerate(names) if n not in classes and (i in there or (self.background and i == 0))
        )
        y = renumbered(y, names, left, 0 if self.background else self.ignore)
        rows = (y != self.ignore).flatten(1).any(1)
        return rows, y[rows], left

    def known(self, labels: Any, names: Sequence[str]) -> Tensor:
        y, own = self.encode(labels)
        at = y.new_full((max(len(own), self.ignore) + 1,), self.ignore)
        for i, name in enumerate(own):
            if name not in names and bool((y == i).any()):
                raise DataError(
                    f"The masks hold the class {name!r}, which is none of the adapted model ({', '.join(names)}). Give "
                    "the classes it was adapted with."
                )
            at[i] = names.index(name) if name in names else self.ignore
        return at[y]

    def statistics(self, examples: Examples) -> dict[str, Any]:
        counts = examples.y[self._valid(examples)].bincount()
        share = counts / counts.sum().clamp(min=1)
        return {"classes": int((counts > 0).sum()), "smallest share": float(share[counts > 0].min())}

    # What learning needs

    @property
    def each(self) -> Classes:
        return Classes(ways=self.ways)

    def rows(self, z: Tensor) -> Tensor:
        if z.dim() != 4:
            raise ShapeError(
                f"Masks need features of each place, (n, D, height, width), but the encoder gave {tuple(z.shape)}. "
                "Choose a network that gives maps: --model unet, --model squeezenet."
            )
        return z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])

    def labels(self, examples: Examples, z: Tensor) -> Examples:
        height, width = z.shape[-2:]
        rows, columns = (
            ((torch.arange(count, device=z.device) + 0.5) * self.size / count).long() for count in (height, width)
        )
        y = examples.y[:, rows][:, :, columns]
        there = (y != self.ignore) & examples.mask[:, None, None]
        return Examples(z.new_zeros(y.numel(), 0), torch.where(there, y, 0).flatten(), there.flatten())

    def together(self, said: Tensor, z: Tensor) -> Tensor:
        maps = said.reshape(len(z), *z.shape[-2:], said.shape[-1]).permute(0, 3, 1, 2)
        if maps.shape[-2:] == self.grid:
            return maps
        return F.interpolate(maps, self.grid, mode="bilinear")

    def losses(self, prediction: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
        """Cross-entropy, the mean over the pixels of an example that count."""
        cost, counts = self._costs(prediction, y, smoothing)
        return cost.flatten(1).sum(1) / counts.flatten(1).sum(1).clamp(min=1)

    def _costs(self, prediction: Tensor, y: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        """What each pixel costs, and which count, both (n, size, size): a class that the support set has not shown is
        none that a learner could have named."""
        there = torch.where((y >= 0) & (y < self.ways), y, 0)[:, None]
        own = prediction.gather(1, there)[:, 0]
        counts = (y != self.ignore) & (own > ABSENT / 2)
        logs = prediction.log_softmax(1)
        cost = -logs.gather(1, there)[:, 0]
        if smoothing:
            cost = (1 - smoothing) * cost - smoothing * logs.mean(1)
        return torch.where(counts, cost, 0.0), counts

    def scores(self, prediction: Tensor, y: Tensor) -> Tensor:
        pairs = zip(prediction[:, None], y[:, None], strict=True)
        return torch.stack([self._mean(self._overlap(one, true, true != self.ignore)) for one, true in pairs])

    def loss(self, prediction: Tensor, examples: Examples, smoothing: float = 0.0) -> Tensor:
        """Cross-entropy, the mean over all pixels of all real examples that count."""
        cost, counts = self._costs(prediction, examples.y, smoothing)
        return masked_mean(cost, counts & examples.mask[:, None, None])

    def score(self, prediction: Tensor, examples: Examples) -> Tensor:
        """The headline over the pixels of all real examples together: a ratio of sums, no mean of ratios."""
        return self._mean(self._overlap(prediction, examples.y, self._valid(examples)))

    def metrics(self, prediction: Tensor, examples: Examples) -> dict[str, Tensor]:
        """The headline; the share of pixels that are right; and the IoU of each class, NaN where it is nowhere."""
        valid = self._valid(examples)
        overlap = self._overlap(prediction, examples.y, valid)
        right = masked_mean((prediction.argmax(1) == examples.y).to(prediction.dtype), valid)
        return {
            "iou": self._mean(overlap),
            "pixel accuracy": right,
            **{f"iou of class {i}": one for i, one in enumerate(overlap.each)},
        }

    def strange(self, labels: Any, names: Sequence[str]) -> list[str]:
        maps = as_maps(labels, self.ignore, self.background)
        unknown = {i: name for i, name in enumerate(maps.names) if name not in names and name != BACKGROUND}
        return [next((name for i, name in unknown.items() if bool((one == i).any())), "") for one in maps.ids]

    def reported(self, prediction: Tensor, examples: Examples) -> list[Figure]:
        """The headline, and the share of pixels that are right; of each class see `hits`."""
        return super().reported(prediction, examples)[:2]

    def hits(self, prediction: Tensor, examples: Examples, names: Sequence[str]) -> list[Hits]:
        """In pixels."""
        valid = self._valid(examples)
        said, true = (self._members(ids, valid) for ids in (prediction.argmax(1), examples.y))
        counts = zip(*(part.sum((0, 1, 2)).tolist() for part in (true, said, said & true)), strict=True)
        return [Hits(name, *each) for name, each in zip(names, counts, strict=True)]

    def claims(self, prediction: Tensor, examples: Examples) -> tuple[Tensor, Tensor] | None:
        """Of every pixel that counts, that it is of the class that is said."""
        largest, said = prediction.softmax(1).max(1)
        valid = self._valid(examples)
        return largest[valid], (said == examples.y)[valid]

    def _overlap(self, prediction: Tensor, y: Tensor, valid: Tensor) -> Overlap:
        return Overlap.of(self._members(prediction.argmax(1), valid), self._members(y, valid), prediction.dtype)

    def _mean(self, overlap: Overlap) -> Tensor:
        return overlap.mean(int(self.background and self.ways > 1))

    def coded(self, examples: Examples, dtype: torch.dtype) -> Tensor:
        """One-hot for each pixel, and zero where it does not count."""
        codes = self._members(examples.y, self._valid(examples))
        return codes.permute(0, 3, 1, 2).flatten(1).to(dtype)

    def baseline(self, support: Examples, query: Examples) -> Tensor:
        """Every pixel the commonest class of the support set."""
        counts = self._members(support.y, self._valid(support)).sum((0, 1, 2))
        most = one_hot(counts.argmax(), self.ways).to(torch.float32)
        return most[:, None, None].expand(len(query.y), self.ways, *self.grid)

    def seen(self, support: Examples) -> State:
        """'present' (N,) bool: which classes have support."""
        return {"present": self._members(support.y, self._valid(support)).flatten(0, -2).any(0)}

    def among(self, prediction: Tensor, state: State) -> Tensor:
        return torch.where(state["present"][:, None, None], prediction, ABSENT)

    # What people see

    def said(self, said: Distribution, units: Units | None = None) -> dict[str, Tensor]:
        return {"logits": said.mean, "probabilities": said.mean.float().softmax(dim=1)}

    def answer(self, said: Distribution, names: Sequence[str], units: Units | None = None) -> MaskAnswer:
        return MaskAnswer(tuple(names), self.said(said)["probabilities"].cpu())

    def painted(self, prediction: Tensor) -> Tensor | None:
        return prediction.argmax(1)

    def doubted(self, prediction: Tensor) -> Tensor | None:
        return 1 - prediction.float().softmax(1).amax(1)

    def told(self, y: Tensor, names: Sequence[str]) -> list[str]:
        """The shares of the pixels that count which each class has, the background left out."""
        return [
            told_shares(
                [float(share) for share in one_hot(one[one != self.ignore], self.ways).float().mean(0)],
                names or [BACKGROUND if self.background and not i else f"class {i}" for i in range(self.ways)],
            )
            for one in y
        ]

    def lead(self, given: str, example: str, whole: str, each: bool) -> str:
        shown = f"{given} with masks of {self.ways} classes"
        return f"Shown {shown} it has never seen, this network says which class each pixel of a new {example} is of."
