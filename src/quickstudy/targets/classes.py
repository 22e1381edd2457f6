"""Classes: one of several names that each task gives anew."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.episode import Examples, Params, State
from quickstudy.errors import DataError, ShapeError
from quickstudy.gaps import missing
from quickstudy.masked import class_means, one_hot
from quickstudy.registry import targets
from quickstudy.targets.answers.classes import ClassAnswer
from quickstudy.targets.base import Target
from quickstudy.targets.distribution import Distribution
from quickstudy.targets.metric import Metric
from quickstudy.targets.reported import Figure, Hits
from quickstudy.targets.units import Units

ABSENT = -1e9
"""Logit of a class without support: finite, so that its gradient is 0 and not NaN."""


@targets.register("classes")
@dataclass(frozen=True, kw_only=True)
class Classes(Target):
    """One of N classes. Labels are ids in [0, N), int64; predictions are logits.

    ways: N. It is 5 until tasks say otherwise.
    """

    ways: int = 5

    metric = Metric("accuracy", "accuracy", "accuracy", higher_is_better=True, percent=True, short="correct")
    relabels = True
    calibrates = True
    promises = "classes"
    remedy = "--shuffle-labels"

    @property
    def outputs(self) -> int:
        return self.ways

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    def __str__(self) -> str:
        return f"{self.ways} classes"

    def at(self, ways: int) -> Classes:
        return replace(self, ways=ways)

    def of(self, examples: Examples) -> Classes:
        return self.at(max(int(examples.y[examples.mask].max()) + 1, 2))

    def require_classes(self, who: str, instead: str) -> None:
        return None

    def check(self, y: Tensor, name: str, lead: int) -> None:
        if y.dim() != lead:
            raise ShapeError(
                f"{name} holds class ids and must have {lead} axes, found the shape {tuple(y.shape)}. Turn one-hot "
                "labels into y.argmax(-1)."
            )
        if y.dtype != torch.int64:
            raise ShapeError(f"{name} holds class ids and must be int64, found {y.dtype}. Use y.long().")
        if y.numel() and not (int(y.min()) >= 0 and int(y.max()) < self.ways):
            raise DataError(
                f"{name} holds class ids from {int(y.min())} to {int(y.max())}, but this is a {self.ways}-way task: "
                f"ids must lie in [0, {self.ways}). Number the classes of each task from 0, and give padding the id 0."
            )

    def encode(self, labels: Any) -> tuple[Tensor, tuple[str, ...]]:
        """Names of any kind: equal labels are one class, called str(label); numbers come by size, before all others."""
        given = _listed(labels)
        names = sorted(set(given), key=_order)
        shown = [str(name) for name in names]
        twice = next((name for name in shown if shown.count(name) > 1), None) if len(set(shown)) < len(shown) else None
        if twice is not None:
            raise DataError(
                f"Two different labels are both written {twice!r}, as the number 1 and the text '1' are. Give labels "
                "of one type."
            )
        number = {name: i for i, name in enumerate(names)}
        return torch.tensor([number[label] for label in given], dtype=torch.int64), tuple(shown)

    def decoded(self, y: Tensor, names: Sequence[str]) -> list[Any]:
        """Names; None of those without a class."""
        return [names[i] if i >= 0 else None for i in y.tolist()]

    def united(self, parts: Sequence[tuple[Tensor, Sequence[str]]]) -> tuple[Tensor, tuple[str, ...]]:
        names = united_names([own for _, own in parts])
        return torch.cat([renumbered(y, own, names) for y, own in parts]), names

    def forgetting(
        self, y: Tensor, names: Sequence[str], classes: Sequence[str]
    ) -> tuple[Tensor, Tensor, tuple[str, ...]]:
        there = set(y.tolist())
        left = tuple(name for i, name in enumerate(names) if name not in classes and i in there)
        gone = torch.tensor([name not in left for name in names], device=y.device)
        rows = (y < 0) | ~gone[y.clamp(min=0)]
        return rows, renumbered(y[rows], names, left), left

    def answerable(self, support: Examples, query: Examples) -> Tensor:
        known = (one_hot(support.y, self.ways) & support.mask[..., None]).any(1)
        return query.mask & known.gather(1, query.y)

    def statistics(self, examples: Examples) -> dict[str, Any]:
        counts = examples.y[examples.mask].bincount()
        real = counts[counts > 0]
        return {"classes": len(real), "fewest": int(real.min()), "most": int(real.max())}

    def losses(self, prediction: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
        """Cross-entropy of logits (n, N)."""
        return F.cross_entropy(prediction, y, reduction="none", label_smoothing=smoothing)

    def scores(self, prediction: Tensor, y: Tensor) -> Tensor:
        return (prediction.argmax(dim=-1) == y).to(prediction.dtype)

    def strange(self, labels: Any, names: Sequence[str]) -> list[str]:
        shown = [str(label) for label in _listed(labels)]
        return ["" if label in names else label for label in shown]

    def reported(self, prediction: Tensor, examples: Examples) -> list[Figure]:
        """The headline; the mean recall of the classes that are there; and the mean of −log p of the true class."""
        there = [one for one in self.hits(prediction, examples, [""] * self.ways) if one.true]
        recall = prediction.new_tensor([one.recall for one in there]).mean()
        return [
            *super().reported(prediction, examples),
            Figure.of_share("mean recall", recall),
            Figure("log loss", self.loss(prediction, examples), beside=False),
        ]

    def hits(self, prediction: Tensor, examples: Examples, names: Sequence[str]) -> list[Hits]:
        said, true = (one_hot(ids, self.ways) & examples.mask[:, None] for ids in (prediction.argmax(1), examples.y))
        counts = zip(true.sum(0).tolist(), said.sum(0).tolist(), (said & true).sum(0).tolist(), strict=True)
        return [Hits(name, *each) for name, each in zip(names, counts, strict=True)]

    def claims(self, prediction: Tensor, examples: Examples) -> tuple[Tensor, Tensor] | None:
        largest, said = prediction.softmax(1)[examples.mask].max(1)
        return largest, said == examples.y[examples.mask]

    def coded(self, examples: Examples, dtype: torch.dtype) -> Tensor:
        """One-hot: row i is the indicator of y_i, and zero where the example is padding."""
        return one_hot(examples.y, self.ways).to(dtype) * examples.mask[:, None]

    def baseline(self, support: Examples, query: Examples) -> Tensor:
        """The most frequent class of the support set; where all are equally frequent, that is guessing."""
        most = one_hot(self.coded(support, torch.float32).sum(0).argmax(), self.ways)
        return most.to(torch.float32).expand(len(query.y), -1)

    def seen(self, support: Examples) -> State:
        """'present' (N,) bool: which classes have support."""
        return {"present": self.coded(support, torch.float32).any(dim=0)}

    def among(self, prediction: Tensor, state: State) -> Tensor:
        return torch.where(state["present"], prediction, ABSENT)

    def readout(self) -> Params:
        return {"scale": torch.tensor(1.0), "offset": torch.tensor(0.0)}

    def read(self, values: Tensor, params: Params) -> Tensor:
        return params["scale"] * values + params["offset"]

    def terms(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """The logarithms of all probabilities, weighted by these."""
        logarithms = output.log_softmax(0)
        return logarithms, logarithms.detach().exp()

    def scatter(self, z: Tensor, centred: Tensor, weights: Tensor, examples: Examples) -> tuple[Tensor, Tensor]:
        """Spread within classes, and between their means."""
        means, present = class_means(z, examples, self.ways)
        share = present.to(z.dtype) / present.sum().clamp(min=1)
        between = (share @ (means - share @ means).square()).sqrt()
        return (weights @ (z - means[examples.y]).square()).sqrt(), between

    def said(self, said: Distribution, units: Units | None = None) -> dict[str, Tensor]:
        return {"logits": said.mean, "probabilities": said.mean.softmax(dim=1)}

    def answer(self, said: Distribution, names: Sequence[str], units: Units | None = None) -> ClassAnswer:
        return ClassAnswer(tuple(names), self.said(said)["probabilities"].cpu())

    def chosen(self, prediction: Tensor) -> Tensor | None:
        return prediction.argmax(dim=-1)

    def told(self, y: Tensor, names: Sequence[str]) -> list[str]:
        """Names, or numbers from 1 where classes have none."""
        return [names[i] if names else f"class {i + 1}" for i in y.tolist()]

    def known(self, labels: Any, names: Sequence[str]) -> Tensor:
        shown = [str(label) for label in _listed(labels)]
        strange = next((label for label in shown if label not in names), None)
        if strange is not None:
            raise DataError(
                f"The label {strange!r} is not a class of the adapted model ({', '.join(names)}). Give the names it "
                "was adapted with."
            )
        return torch.tensor([names.index(label) for label in shown], dtype=torch.int64)

    def lead(self, given: str, example: str, whole: str, each: bool) -> str:
        shown = f"{given} of each of {self.ways} classes" if each else f"{given} of up to {self.ways} classes"
        return f"Shown {shown} it has never seen, this network says which class a new {example} belongs to."


def united_names(parts: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """All names of several tasks in the order of one: as the first has them if it has all; otherwise by name, and by
    size where all are whole numbers and stand so in each.

    >>> united_names([("cat", "dog"), ("bat", "cat")]), united_names([("2", "10"), ("3",)])
    (('bat', 'cat', 'dog'), ('2', '3', '10'))
    """
    names = {name for part in parts for name in part}
    if names <= set(parts[0]):
        return tuple(parts[0])
    whole = all(name.removeprefix("-").isdecimal() for name in names)
    if whole and all(list(part) == sorted(part, key=int) for part in parts):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def renumbered(y: Tensor, before: Sequence[str], after: Sequence[str], other: int = -1) -> Tensor:
    """Ids of the classes that are called `before` as ids of `after`; `other` for those that it lacks. What is no id, as
    of an example or pixel without a label, stays."""
    number = {name: i for i, name in enumerate(after)}
    at = torch.tensor([number.get(name, other) for name in before], dtype=y.dtype, device=y.device)
    known = (y >= 0) & (y < len(before))
    return torch.where(known, at[torch.where(known, y, 0).long()], y)


def _order(label: Hashable) -> tuple[bool, Any]:
    """Numbers by size, before everything else by name."""
    return (False, label) if isinstance(label, int | float) else (True, str(label))


def _listed(labels: Any) -> list[Hashable]:
    """The labels one by one; DataError for one that is missing or no name."""
    import numpy as np

    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else labels
    if hasattr(array, "to_numpy"):  # of a data frame
        array = array.to_numpy()
    if isinstance(array, np.ndarray) and array.ndim != 1:
        raise ShapeError(f"y must have one axis, found shape {array.shape}. Turn one-hot labels into y.argmax(1).")
    given: list[Hashable] = array.tolist() if isinstance(array, np.ndarray) else list(labels)
    for i, label in enumerate(given):
        if not isinstance(label, Hashable):
            raise DataError(f"y holds {label!r:.60} for example {i}, which is no name. Give texts or whole numbers.")
        if missing(label):
            raise DataError(f"y has no label for example {i} (found {label}). Drop the example or label it.")
        if isinstance(label, float) and not label.is_integer():
            raise DataError(
                f"y names the class {label!r} for example {i}, which looks like a quantity. Give class names as texts "
                "or whole numbers; for targets that are numbers, train on tasks of numbers (maml, r2d2, incontext …)."
            )
    return given
