"""What agents that take inner steps differentiate: losses of episodes that were played before."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quickstudy.episode import Examples


def per_row(values: Tensor, mask: Tensor) -> Tensor:
    """The sum of `values` (n,) over real steps, divided by all n rows, those of padding too: a scalar.

    Where each episode has as many rows, this is the mean over episodes of an episode's sum, divided by the rows of one.
    Their number is fixed, so it is right in the mean however early some of them end; a mean over real steps alone is
    divided by a number that depends on what was done.
    """
    return (values * mask).sum() / len(mask)


def lvc(target: Any, prediction: Tensor, examples: Examples) -> Tensor:
    """Less the advantage of each step times how much likelier its action has become, per row (Rothfuss et al. 2019)."""
    return per_row(target.losses(prediction, examples.y), examples.mask)


def dice(target: Any, prediction: Tensor, examples: Examples) -> Tensor:
    """Less (□ of a step and those before it in its episode − □ of those before it) times its advantage, per row, where
    □ = exp(Σ log π − its value): 0, with derivatives of any order that estimate those of the expected return (Foerster
    et al. 2018)."""
    told = target.outcome(examples.y)
    chance = torch.where(examples.mask, target.log_prob(prediction, told.action) - told.log_prob, 0.0)
    within = (told.episode[:, None] == told.episode[None]).to(chance.dtype).tril()
    until = within @ chance
    return -per_row((until.exp() - (until - chance).exp()) * told.advantage, examples.mask)


def divergence(change: Tensor) -> Tensor:
    """Of each step, r − 1 − log r for the ratio r of its action's probability to that when it was taken, (n,).

    change: log r, (n,). Over actions as they were drawn its mean is KL(then ‖ now), and it is never negative (Schulman
    2020, "Approximating KL divergence").
    """
    return change.expm1() - change


SURROGATES = {"lvc": lvc, "dice": dice}
