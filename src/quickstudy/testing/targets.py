"""What a target must keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from quickstudy.episode import Examples
from quickstudy.errors import DataError, ShapeError
from quickstudy.registry import formats, targets
from quickstudy.spec import TaskSpec
from quickstudy.targets.base import Target
from quickstudy.targets.distribution import Distribution
from quickstudy.testing.claims import refuses, require, restored

_SEED = 7919  # an uncommon one: labels drawn with the same seed would be predicted without an error


def check_target(target: Target, labels: Any) -> None:
    """Check a target against its contract with some labels of the user's; raises AssertionError saying what is broken.

    labels: for a task, at least three examples, and not all the same. They must be encoded as `check` wants them, and
    come back from answers; masked examples must not count, the loss must be finite and fall along its gradient, no
    prediction may score better than the labels themselves, the baseline must be predictions that know nothing of the
    queries, and the registered target must be the same after it was stored as JSON.
    """
    target = target.learn(labels)
    y, names = target.encode(labels)
    target = target.at(len(names)) if target.relabels else target
    _check_labels(target, labels, y, names)
    mask = torch.arange(len(y)) < len(y) - 1
    examples = Examples(torch.zeros(len(y), 1), y, mask)
    shape = (len(y), *target.prediction_shape)
    prediction = torch.randn(shape, generator=torch.Generator().manual_seed(_SEED))
    _check_loss(target, prediction, examples)
    _check_padding(target, prediction, examples)
    _check_baseline(target, prediction, examples)
    _check_best(target, examples, names)
    _check_answer(target, prediction, names)
    if target.density:
        _check_density(target, examples)
    targets.name_of(type(target))
    restored(TaskSpec(formats.make("array", shape=(1,)), target), "The target")


def _check_labels(target: Target, labels: Any, y: Tensor, names: tuple[str, ...]) -> None:
    count = len(labels)
    require(len(y) == count, f"{count} labels were encoded as {len(y)}.")
    shape = tuple(y.shape[1:])
    require(shape == target.shape, f"A label was encoded in the shape {shape}, but the target says {target.shape}.")
    target.check(y, "the encoded labels", 1)
    require(torch.equal(target.known(labels, names), y), "`known` numbers these labels otherwise than `encode`.")
    told = target.told(y, names)
    require(len(told) == count, f"`told` tells {len(told)} of {count} labels.")
    if target.relabels and not target.shape:
        classes = dict(zip(y.tolist(), told, strict=True))
        require(len(set(classes.values())) == len(classes), "`told` tells two classes alike.")
        if set(told) <= set(names):
            right = torch.equal(target.known(told, names), y)
            require(right, "The names that `told` gives are not those of the labels.")
    refuses(lambda: target.encode([*list(labels)[:-1], None]), DataError, "A label that is missing")
    twice = torch.stack([y, y], dim=-1)
    refuses(lambda: target.check(twice, "y", 1), ShapeError, "`check`: labels with an axis too many")


def _check_loss(target: Target, prediction: Tensor, examples: Examples) -> None:
    """Finite, and less a small step against its gradient."""
    costs, scores = target.losses(prediction, examples.y), target.scores(prediction, examples.y)
    for what, each in (("losses", costs), ("scores", scores)):
        wanted = (len(examples.y),)
        require(tuple(each.shape) == wanted, f"`{what}` has the shape {tuple(each.shape)}, expected {wanted}.")
    variable = prediction.clone().requires_grad_()
    loss = target.loss(variable, examples)
    finite = loss.dim() == 0 and bool(torch.isfinite(loss))
    require(finite, f"The loss must be one finite number, found {loss}.")
    require(loss.requires_grad, "The loss has no gradient.")
    (gradient,) = torch.autograd.grad(loss, variable)
    finite = bool(torch.isfinite(gradient).all()) and bool(gradient.any())
    require(finite, "The gradient of the loss at a random prediction must be finite, and not 0.")
    lower = target.loss(prediction - 1e-2 * gradient, examples)
    require(float(lower) < float(loss.detach()), "The loss does not fall along its gradient.")


def _check_padding(target: Target, prediction: Tensor, examples: Examples) -> None:
    """The same figures and constants, whatever stands where the mask is False: here, in the last example."""
    (x, y, mask), last = examples, len(examples.y) - 1
    unlike = (y != y[last]).flatten(1).any(1) if y.dim() > 1 else y != y[last]
    require(bool(unlike.any()), "These labels are all the same. Give some that differ.")
    other_y, other = y.clone(), prediction.clone()
    other_y[last] = y[int(unlike.nonzero()[0])]
    other[last] = 1 - 3 * prediction[last]
    padded = Examples(x, other_y, mask)
    one, two = _figures(target, prediction, examples), _figures(target, other, padded)
    for name, value in one.items():
        require(torch.equal(value, two[name]), f"A masked example counts in {name}.")
    coded, wanted = target.coded(examples, torch.float32), (len(y), target.outputs)
    require(tuple(coded.shape) == wanted, f"Coded labels have the shape {tuple(coded.shape)}, expected {wanted}.")
    require(not bool(coded[last].any()), "The coded label of a masked example is not 0.")


def _figures(target: Target, prediction: Tensor, examples: Examples) -> dict[str, Tensor]:
    metrics = target.metrics(prediction, examples)
    first = next(iter(metrics))
    require(
        first == target.metric.name, f"The first of `metrics` is {first!r}, not the headline {target.metric.name!r}."
    )
    return {
        "the loss": target.loss(prediction, examples),
        "the score": target.score(prediction, examples),
        "the baseline": target.baseline(examples, examples),
        **{f"the figure {name!r}": value for name, value in metrics.items()},
        **{f"`seen` {name!r}": value for name, value in target.seen(examples).items()},
        **{f"`scale` {name!r}": value for name, value in target.scale(examples).items()},
    }


def _check_baseline(target: Target, prediction: Tensor, examples: Examples) -> None:
    blind = target.baseline(examples, examples)
    shape = tuple(blind.shape)
    require(
        shape == tuple(prediction.shape), f"The baseline has the shape {shape}, predictions have {prediction.shape}."
    )
    require(bool(torch.isfinite(blind).all()), "The baseline holds NaN or infinite values.")
    others = examples._replace(y=examples.y.flip(0))
    require(torch.equal(blind, target.baseline(examples, others)), "The baseline knows the labels of the queries.")


def _check_best(target: Target, examples: Examples, names: Sequence[str]) -> None:
    """Nothing scores better than the labels themselves, as predictions and as an answer made of these."""
    metric = target.metric
    perfect = target.read(target.coded(examples, torch.float32), target.readout())
    best = float(target.score(perfect, examples))
    generator = torch.Generator().manual_seed(_SEED + 1)
    rivals = [target.baseline(examples, examples)]
    rivals += [torch.randn(perfect.shape, generator=generator) for _ in range(8)]
    scores = [float(target.score(rival, examples)) for rival in rivals]
    better = next((score for score in scores if metric.better(score, best)), None)
    way = "higher" if metric.higher_is_better else "lower"
    require(
        better is None,
        f"The labels themselves score {best:.4g} of {metric.name!r}, other predictions {better}, and {way} is better.",
    )
    most = 1.0 if metric.higher_is_better else torch.inf
    within = not metric.percent or all(0 <= score <= most for score in [best, *scores])
    require(within, f"The figure {metric.name!r} is shown in per cent and must lie in [0, {most:g}].")
    again = float(target.score(target.answer(Distribution(perfect), names).prediction, examples))
    require(not metric.better(best, again), f"The labels as an answer score {again:.4g}, as predictions {best:.4g}.")


def _check_answer(target: Target, prediction: Tensor, names: Sequence[str]) -> None:
    answer = target.answer(Distribution(prediction), names)
    widths = {len(row) for row in answer.rows()}
    table = len(answer) == len(prediction) and widths == {len(answer.columns)}
    require(table, "An answer must be a table with a row for each input and a cell for each column.")


def _check_density(target: Target, examples: Examples) -> None:
    """One distribution for each example, under which what it expects surprises least."""
    count = len(examples.y)
    output = torch.randn((count, 2 * target.outputs), generator=torch.Generator().manual_seed(_SEED + 2))
    said = target.distribution(output, target.scale(examples))
    wanted = (count, *target.prediction_shape)
    require(tuple(said.mean.shape) == wanted, f"`distribution` has the shape {tuple(said.mean.shape)}, not {wanted}.")
    require(said.spread is not None and bool((said.spread > 0).all()), "The spread of a distribution must be above 0.")
    y = said.mean.to(examples.y.dtype)
    expected, off = target.surprise(said, y), target.surprise(said, y + 1)
    require(tuple(expected.shape) == (count,), f"`surprise` has the shape {tuple(expected.shape)}, not {(count,)}.")
    require(bool((expected < off).all()), "A label far from what was said surprises no more than one that was said.")
