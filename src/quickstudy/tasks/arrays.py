"""Classification tasks from examples in memory, and the splitting of classes that every such source shares."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import ImageFormat, TaskSpec
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.tasks.augment import Augment
from quickstudy.tasks.base import SPLITS, Sampling
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.pool import TensorPool

_PLAIN = Augment()


def arrays(
    x: Any,
    y: Any,
    *,
    splits: Mapping[str, Sequence[Hashable]] | None = None,
    val: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
    image: ImageFormat | None = None,
    symmetries: int = 1,
    augmentation: Augment = _PLAIN,
) -> ClassSource:
    """Classification tasks over labelled examples in memory.

    x: (n, *features), a tensor, NumPy array or nested list; uint8 is taken for images and given out in [0, 1], other
        numbers as float32. y: (n,) labels of any kind; equal labels are one class, named str(label).
    splits: the labels of 'train', 'val' and 'test'; by default the shares `val` and `test` of the classes are held out,
        at random by `split_seed`. image: how image files become x, so that a stored learner can be given files.
    symmetries, augmentation: see ClassSource; for x of shape (n, C, S, S), on training tasks only.

    Raises ShapeError for lengths or types that do not fit, DataError for NaN or too few classes.
    """
    features, labels = as_features(x), _labels(y)
    if len(labels) != len(features):
        raise ShapeError(
            f"x has {len(features)} examples but y has {len(labels)} labels. Give one label for each example."
        )
    names = sorted(set(labels), key=_order)
    if len(names) < 2:
        raise DataError(f"y has {len(names)} different labels; telling classes apart needs at least two.")
    number = {name: i for i, name in enumerate(names)}
    ids = torch.tensor([number[label] for label in labels])
    chosen = split_classes(len(names), val, test, split_seed) if splits is None else _explicit(splits, number)
    return class_source(
        features,
        ids,
        [str(name) for name in names],
        chosen,
        image=image,
        symmetries=symmetries,
        augmentation=augmentation,
    )


def class_source(
    x: Tensor,
    labels: Tensor,
    names: Sequence[str],
    splits: Mapping[str, Tensor],
    *,
    image: ImageFormat | None = None,
    symmetries: int = 1,
    augmentation: Augment = _PLAIN,
) -> ClassSource:
    """The source over x (n, *features) with labels (n,) into names; symmetries and augmentation are for training."""
    shape = tuple(x.shape[1:])
    if (symmetries != 1 or augmentation != _PLAIN) and (len(shape) != 3 or shape[1] != shape[2]):
        raise ConfigError(f"Symmetries and augmentation need square images (C, S, S), but one example is {shape}.")
    return ClassSource(
        pool=TensorPool.from_labels(x, labels, names),
        splits=splits,
        spec=TaskSpec("classification", shape, ways=Sampling().ways, image=image),
        symmetries=symmetries,
        symmetric_splits=("train",),
        augmentation=augmentation,
    )


def split_classes(classes: int, val: float, test: float, seed: int, least: int = 2) -> dict[str, Tensor]:
    """Class ids (C,) of each split, at random. A share above 0 gives at least `least` of them, a share of 0 none."""
    for name, share in (("val", val), ("test", test)):
        if not 0.0 <= share < 1.0:
            raise ConfigError(f"The share {name} must lie in [0, 1), found {share}.")
    sizes = {name: max(least, round(classes * share)) if share else 0 for name, share in (("val", val), ("test", test))}
    rest = classes - sizes["val"] - sizes["test"]
    if rest < least:
        raise DataError(
            f"{classes} classes cannot be split: val takes {sizes['val']} and test {sizes['test']}, which leaves "
            f"{max(rest, 0)} to train on. "
            "Add classes, lower the shares val and test (0 is allowed), or name the splits."
        )
    order = rng.permutation(rng.key(seed, "split"), classes)
    parts = order.tensor_split([rest, rest + sizes["val"]])
    return {split: ids.sort().values for split, ids in zip(SPLITS, parts, strict=True)}


def as_features(x: Any, name: str = "x", features: bool = True) -> Tensor:
    """x as a uint8 or float32 tensor of at least one axis, or two if it has `features`.

    NaN and infinities are refused, naming the example.
    """
    import numpy as np

    if isinstance(x, Tensor):
        tensor: Tensor = x.detach()
    else:
        try:
            array = np.asarray(x)
        except ValueError as error:
            raise ShapeError(f"{name} is not a full array: its examples differ in shape ({error}).") from error
        if array.dtype.kind not in "biuf":
            raise ShapeError(f"{name} must hold numbers, found NumPy dtype {array.dtype}. Convert it first.")
        tensor = torch.tensor(array if array.dtype == np.uint8 else array.astype(np.float32))
    if tensor.is_complex():
        raise ShapeError(f"{name} must hold real numbers, found {tensor.dtype}. Give its parts as two features.")
    if tensor.dim() == 0:
        raise ShapeError(f"{name} must have an axis of examples, found a single number.")
    if features and tensor.dim() == 1:
        raise ShapeError(
            f"{name} must have an axis of features after that of examples, found shape {tuple(tensor.shape)}. "
            "Where each example is one number, give them as a column: x[:, None]."
        )
    tensor = tensor if tensor.dtype == torch.uint8 else tensor.to(torch.float32)
    bad = (~torch.isfinite(tensor)).flatten(1).any(dim=1) if tensor.dim() > 1 else ~torch.isfinite(tensor)
    if bool(bad.any()):
        raise DataError(
            f"{name} holds NaN or infinite values in {int(bad.sum())} examples, first in example "
            f"{int(bad.nonzero()[0])}. Fill or drop them."
        )
    return tensor


def _order(label: Hashable) -> tuple[bool, Any]:
    """Numbers by size, before everything else by name."""
    return (False, label) if isinstance(label, int | float) else (True, str(label))


def _labels(y: Any) -> list[Hashable]:
    import numpy as np

    array = y.detach().cpu().numpy() if isinstance(y, Tensor) else y if isinstance(y, np.ndarray) else None
    if array is not None and array.ndim != 1:
        raise ShapeError(f"y must have one axis, found shape {array.shape}. Turn one-hot labels into y.argmax(1).")
    labels: list[Hashable] = list(y) if array is None else array.tolist()
    for i, label in enumerate(labels):
        if label is None or (isinstance(label, float) and math.isnan(label)):
            raise DataError(f"y has no label for example {i} (found {label}). Drop the example or label it.")
    return labels


def _explicit(splits: Mapping[str, Sequence[Hashable]], number: Mapping[Hashable, int]) -> dict[str, Tensor]:
    if set(splits) - set(SPLITS) or "train" not in splits:
        raise ConfigError(f"splits must name the labels of 'train', 'val' and 'test', found {sorted(splits)}.")
    seen: dict[Hashable, str] = {}
    for split, labels in splits.items():
        for label in labels:
            if label not in number:
                raise DataError(
                    f"splits[{split!r}] names the class {label!r}, which no example in y has. Check its type."
                )
            if label in seen:
                raise DataError(
                    f"splits names the class {label!r} twice, in {seen[label]!r} and {split!r}: a class that was "
                    "trained on says nothing about learning new ones. Name it once."
                )
            seen[label] = split
    return {s: torch.tensor([number[label] for label in splits.get(s, ())], dtype=torch.int64) for s in SPLITS}
