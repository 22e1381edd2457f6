"""Tags: any number of names for each example."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.episode import Examples, Params
from quickstudy.errors import ConfigError, DataError, ShapeError, first_of
from quickstudy.registry import targets
from quickstudy.targets.answers.tags import TagAnswer
from quickstudy.targets.base import Target
from quickstudy.targets.distribution import Distribution
from quickstudy.targets.metric import Metric
from quickstudy.targets.reported import Hits
from quickstudy.targets.units import Units

_SEPARATOR = ";"
_log = logging.getLogger("quickstudy")


@targets.register("tags")
@dataclass(frozen=True, kw_only=True)
class Tags(Target):
    """Which of N names are true of an example: several, one or none. Labels are 0 or 1 (n, N); predictions are logits.

    Labels of the user's are lists of names, or texts with semicolons between them, such as 'red; round', and ';'
    where none is true in a file whose cells may not be empty; or 0 and 1 for each name, as an array (n, N).

    names: of the tags; those of all tasks' labels, by name, where they are not given.
    """

    names: tuple[str, ...] = ()

    metric = Metric("f1", "F1", "F1 of the tags of an example", higher_is_better=True, percent=True, short="F1")
    guess = "the support set's shares of the tags"

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names) or any(not name.strip() or _SEPARATOR in name for name in self.names):
            raise ConfigError(
                f"Names of tags must be texts without {_SEPARATOR!r}, each named once, found {first_of(self.names)}."
            )

    @property
    def outputs(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.names),)

    def __str__(self) -> str:
        return f"{len(self.names)} tags"

    def fits(self, other: Target) -> bool:
        return isinstance(other, Tags) and self.names == other.names

    def learn(self, labels: Any) -> Tags:
        """With the names that these labels use, where none are given."""
        if self.names:
            return self
        if columns := _columns(labels):
            return replace(self, names=tuple(f"tag {i + 1}" for i in range(columns)))
        names = tuple(sorted({name for label in labels for name in _listed(label) or ()}))
        if commas := [name for name in names if "," in name]:
            _log.warning(
                "%d of %d tags have a comma in their name, such as %r. If these are several tags, part them by "
                "semicolons: %r.", len(commas), len(names), commas[0], commas[0].replace(",", ";"),
            )  # fmt: skip
        return replace(self, names=names)

    def check(self, y: Tensor, name: str, lead: int) -> None:
        if tuple(y.shape[lead:]) != self.shape:
            raise ShapeError(
                f"{name} has the shape {tuple(y.shape[lead:])} after its first {lead} axes, but there are "
                f"{len(self.names)} tags. Encode labels with the target: target.encode(labels)."
            )
        if not y.is_floating_point():
            raise ShapeError(f"{name} holds tags and must be floating point, found {y.dtype}. Use y.float().")
        if not bool(((y == 0) | (y == 1)).all()):
            raise DataError(f"{name} holds other numbers than 0 and 1, which say whether a tag is there. Correct them.")

    def encode(self, labels: Any) -> tuple[Tensor, tuple[str, ...]]:
        if not self.names:
            raise ConfigError("No tag is known yet. Name them (names=…), or learn them: target.learn(labels).")
        if _columns(labels):
            y = torch.as_tensor(labels).float()
            self.check(y, "The labels", 1)
            return y, ()
        number = {name: i for i, name in enumerate(self.names)}
        y = torch.zeros(len(labels), len(self.names))
        for i, label in enumerate(labels):
            given, where = _listed(label), getattr(label, "place", f"Example {i}")
            if given is None:
                raise DataError(
                    f"{where} has no tags that can be read (found {label!r:.60}). Give a list of names, empty "
                    "where none is true of it, or a text with semicolons between them."
                )
            if strange := [name for name in given if name not in number]:
                raise DataError(
                    f"{where} has the tag {strange[0]!r}, which is none of {first_of(self.names)}. Correct it, or "
                    "train on tasks that have it."
                )
            y[i, [number[name] for name in given]] = 1.0
        return y, ()

    def statistics(self, examples: Examples) -> dict[str, Any]:
        return {"tags": len(self.names), "tags of an example": float(examples.y[examples.mask].sum(1).mean())}

    def losses(self, prediction: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
        """Binary cross-entropy of logits, mean over the tags."""
        wanted = y * (1 - smoothing) + smoothing / 2
        return (F.softplus(prediction) - prediction * wanted).mean(1)

    def scores(self, prediction: Tensor, y: Tensor) -> Tensor:
        """2 |P ∩ Y| / (|P| + |Y|) of the tags P that are likelier than not; 1 where both are empty."""
        said = (prediction > 0).to(prediction.dtype)
        both, total = (said * y).sum(1), said.sum(1) + y.sum(1)
        return torch.where(total > 0, 2 * both / total.clamp(min=1), 1.0)

    def metrics(self, prediction: Tensor, examples: Examples) -> dict[str, Tensor]:
        """F1, and the mean average precision over the tags that are there."""
        return {**super().metrics(prediction, examples), "mAP": average_precision(prediction, examples)}

    def strange(self, labels: Any, names: Sequence[str]) -> list[str]:
        if _columns(labels):
            return [""] * len(labels)
        return [next((name for name in _listed(label) or () if name not in self.names), "") for label in labels]

    def hits(self, prediction: Tensor, examples: Examples, names: Sequence[str]) -> list[Hits]:
        said, true = ((part > 0) & examples.mask[:, None] for part in (prediction, examples.y))
        counts = zip(true.sum(0).tolist(), said.sum(0).tolist(), (said & true).sum(0).tolist(), strict=True)
        return [Hits(name, *each) for name, each in zip(self.names, counts, strict=True)]

    def claims(self, prediction: Tensor, examples: Examples) -> tuple[Tensor, Tensor] | None:
        """Of every tag of every example, that it is there."""
        return prediction.sigmoid()[examples.mask].flatten(), examples.y[examples.mask].flatten() > 0

    def coded(self, examples: Examples, dtype: torch.dtype) -> Tensor:
        return examples.y.to(dtype) * examples.mask[:, None]

    def baseline(self, support: Examples, query: Examples) -> Tensor:
        """The share of each tag in the support set, with half an example for and half against it, as logits."""
        count = support.mask.sum()
        share = (self.coded(support, query.y.dtype).sum(0) + 0.5) / (count + 1)
        return share.logit().expand_as(query.y)

    def readout(self) -> Params:
        return {"scale": torch.tensor(8.0), "offset": torch.tensor(0.0)}

    def read(self, values: Tensor, params: Params) -> Tensor:
        """Least-squares values about ½ as logits about 0."""
        return params["scale"] * (values - 0.5) + params["offset"]

    def terms(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """The logarithms of the probability of each tag and of its absence, weighted by these."""
        logarithms = torch.cat([F.logsigmoid(output), F.logsigmoid(-output)])
        return logarithms, logarithms.detach().exp()

    def said(self, said: Distribution, units: Units | None = None) -> dict[str, Tensor]:
        return {"logits": said.mean, "probabilities": said.mean.sigmoid()}

    def answer(self, said: Distribution, names: Sequence[str], units: Units | None = None) -> TagAnswer:
        return TagAnswer(self.names, self.said(said)["probabilities"].cpu(), said.mean.cpu())

    def told(self, y: Tensor, names: Sequence[str]) -> list[str]:
        return [f"{_SEPARATOR} ".join(self._of(one)) or "no tag" for one in y.bool().tolist()]

    def _of(self, flags: Iterable[bool]) -> list[str]:
        return [name for name, flag in zip(self.names, flags, strict=True) if flag]

    def lead(self, given: str, example: str, whole: str, each: bool) -> str:
        return (
            f"Shown {given} of a {whole} it has never seen, each with its tags, this network says which of "
            f"{len(self.names)} tags are true of further {example}s."
        )


def average_precision(prediction: Tensor, examples: Examples) -> Tensor:
    """The mean over tags of the average precision: of the precisions at the rank of each example that has the tag.

    prediction: (n, N). Tags that no example has are left out; without any it is 0.
    """
    real = examples.mask[:, None].to(prediction.dtype)
    order = torch.where(examples.mask[:, None], prediction, -torch.inf).argsort(dim=0, descending=True, stable=True)
    hits = (examples.y * real).gather(0, order)
    rank = torch.arange(1, len(hits) + 1, device=hits.device, dtype=hits.dtype)[:, None]
    total = hits.sum(0)
    each = (hits.cumsum(0) / rank * hits).sum(0) / total.clamp(min=1)
    return each.sum() / (total > 0).sum().clamp(min=1)


def _columns(labels: Any) -> int:
    """How many tags labels have that are an array of 0 and 1 (n, N); 0 for others."""
    shape: tuple[int, ...] = tuple(getattr(labels, "shape", ()))
    return shape[1] if len(shape) == 2 and str(getattr(labels, "dtype", "object")) != "object" else 0


def _listed(label: Any) -> list[str] | None:
    """The names in one label; None for what is none."""
    if isinstance(label, str):
        return [part for name in label.split(_SEPARATOR) if (part := name.strip())]
    if isinstance(label, list | tuple | set | frozenset) and all(isinstance(name, str) for name in label):
        return [name.strip() for name in label]
    return None
