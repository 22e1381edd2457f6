"""What a format and a target must keep."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quickstudy.episode import Examples, Features, leaves, map_features, named
from quickstudy.errors import DataError, ShapeError
from quickstudy.formats.base import Format
from quickstudy.registry import formats, targets
from quickstudy.spec import TaskSpec, check_examples
from quickstudy.targets.base import Distribution, Target

_ROUNDING = 1e-5  # of the largest value


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _alike(one: Features, other: Features) -> bool:
    pairs = zip(leaves(one), leaves(other), strict=True)
    return all(a.dtype == b.dtype and a.shape == b.shape and torch.allclose(a, b, rtol=_ROUNDING) for a, b in pairs)


def _restored(spec: TaskSpec, name: str) -> None:
    _require(TaskSpec.from_json(spec.to_json()) == spec, f"{name} is another one after it was stored as JSON and read.")


def check_format(format: Format, records: Any) -> None:
    """Check a format against its contract with some records of it; raises AssertionError saying what is broken.

    records: at least two, as `store` takes them: items of `find`, or arrays in memory; or the seen values of one
    series. Compact tensors and features must have one row for each example, features must be as `layout` says and the
    same whether records come together or one by one (but for rounding), what `check` refuses must be refused, a record
    must be drawn or not without an error, and the registered format must be the same after it was stored as JSON.
    """
    stored = format.store(records)
    fitted = format.prepare(stored.x)
    format = format.fitting(stored.x, records)
    x = format.features(stored.x, fitted)
    tensors = format.named(x, "the features")
    counts = {len(tensor) for tensor in tensors.values()}
    _require(len(counts) == 1, f"The tensors of the features have different numbers of examples: {sorted(counts)}.")
    format.check(x, 1, "the features")
    for name, tensor in tensors.items():
        wanted = format.layout[name].dtype
        _require(tensor.dtype == wanted, f"The features {name!r} are {tensor.dtype}, but `layout` says {wanted}.")
        if tensor.is_floating_point():
            _require(bool(torch.isfinite(tensor).all()), f"The features {name!r} hold NaN or infinite values.")
    _require(_alike(x, format.features(format.store(records).x, fitted)), "The same records give other features.")
    if not format.labels_itself:
        count = counts.pop()
        _require(len(stored.kept) == count, f"{len(stored.kept)} records were kept, but there are {count} features.")
        for i in range(count):
            alone = format.features(map_features(lambda t, i=i: t[i : i + 1], stored.x), fitted)
            row = map_features(lambda t, i=i: t[i : i + 1], x)
            _require(_alike(alone, row), f"Record {i} has other features alone than among others.")
    _refuses(format, x)
    format.draw(map_features(lambda t: t[0], x))
    points = format.coordinates(x)
    if points is not None:
        _require(_alike(format.from_coordinates(points), x), "`from_coordinates` does not undo `coordinates`.")
    formats.name_of(type(format))
    _restored(TaskSpec(format, targets.make("classes", ways=2)), "The format")


def _refuses(format: Format, x: Features) -> None:
    """Tensors of another shape, and without a number, are refused."""
    wider = map_features(lambda t: torch.stack([t, t], dim=-1), x)
    try:
        format.check(wider, 1)
    except ShapeError:
        pass
    else:
        raise AssertionError("`check` takes features with an axis too many.")
    y = torch.zeros(len(leaves(x)[0]), dtype=torch.int64)
    spec = TaskSpec(format, targets.make("classes", ways=2))
    for name, tensor in named(x).items():
        if not tensor.is_floating_point():
            continue
        spoiled = map_features(lambda t, of=tensor: t * torch.nan if t is of else t, x)
        try:
            check_examples(Examples(spoiled, y, torch.ones_like(y, dtype=torch.bool)), spec)
        except DataError:
            continue
        raise AssertionError(f"Features {name or 'x'!r} that are NaN are not refused.")


def check_target(target: Target, labels: Any) -> None:
    """Check a target against its contract with some labels of the user's; raises AssertionError saying what is broken.

    labels: for a task, at least two examples. They must be encoded as `check` wants them, masked examples must not
    count, the loss must be finite and fall along its gradient, the baseline must be predictions, an answer must have a
    row for each input, and the registered target must be the same after it was stored as JSON.
    """
    y, names = target.encode(labels)
    target = target.at(len(names)) if target.relabels else target
    target.check(y, "the encoded labels", 1)
    count = len(y)
    _require(count == len(labels), f"{len(labels)} labels were encoded as {count}.")
    _require(torch.equal(target.known(labels, names), y), "`known` numbers these labels otherwise than `encode`.")
    mask = torch.arange(count) < count - 1
    examples = Examples(torch.zeros(count, 1), y, mask)
    generator = torch.Generator().manual_seed(0)
    prediction = torch.randn((count, *target.prediction_shape), generator=generator).requires_grad_()
    loss = target.loss(prediction, examples)
    _require(loss.dim() == 0 and bool(torch.isfinite(loss)), f"The loss must be one finite number, found {loss}.")
    (gradient,) = torch.autograd.grad(loss, prediction)
    _require(not bool(gradient[-1].any()), "The loss of a masked example counts.")
    lower = target.loss((prediction - 1e-3 * gradient).detach(), examples)
    _require(float(lower) <= float(loss), "The loss does not fall along its gradient.")
    _masked(target, prediction.detach(), examples)
    blind = target.baseline(examples, examples)
    _require(blind.shape == prediction.shape, f"The baseline has the shape {tuple(blind.shape)}, not the predictions'.")
    coded = target.coded(examples, torch.float32)
    _require(tuple(coded.shape) == (count, target.outputs), f"Coded labels have the shape {tuple(coded.shape)}.")
    _require(not bool(coded[-1].any()), "The coded label of a masked example is not 0.")
    answer = target.answer(Distribution(prediction.detach()), names, {})
    widths = {len(row) for row in answer.rows()}
    _require(len(answer) == count and widths == {len(answer.columns)}, "An answer is no table of its inputs.")
    _require(len(target.told(y, names)) == count, "`told` does not tell every label.")
    targets.name_of(type(target))
    _restored(TaskSpec(formats.make("array", shape=(1,)), target), "The target")


def _masked(target: Target, prediction: Tensor, examples: Examples) -> None:
    """Figures are the same whatever stands where the mask is False."""
    other = prediction.clone()
    other[-1] = -3 * other[-1] + 1
    for name, value in target.metrics(prediction, examples).items():
        _require(torch.equal(value, target.metrics(other, examples)[name]), f"A masked example counts in {name!r}.")
