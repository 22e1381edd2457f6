"""Adaptation to unlabelled inputs of a new domain: transductive, where they are what is asked."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from quickstudy.entries import PARAMETER
from quickstudy.episode import Episode, Examples, Features, Params, leaves
from quickstudy.errors import ConfigError
from quickstudy.learners import Learner
from quickstudy.masked import UNLABELLED

Shift = Literal["none", "statistics", "entropy"]
"""What of φ follows unlabelled inputs: nothing; the statistics of normalisation layers; their weights as well, so that
answers become sure."""
_LAYERS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm)
_RATE = 1e-3


def shifted(learner: Learner, params: Params, support: Examples, x: Features, shift: Shift, steps: int) -> Params:
    """φ for a domain that is known by a task's support set and by inputs x (m, …) without labels.

    'statistics' takes the mean and variance of BatchNorm layers, and the mean embedding of pretrained encoders, over
    these instead of over the training tasks (Li et al. 2017; Schneider et al. 2020); pretrained encoders take x alone.
    What takes labels to measure, as whitening within classes does, stays that of the training tasks. 'entropy' also
    moves the scales and offsets of normalisation layers by `steps` of Adam, so that answers for x have less entropy;
    the task is learned anew in each (TENT, Wang et al. 2021). Raises ConfigError where the network has no such layers.
    """
    learner.spec.target.require_classes("adaptation to unlabelled inputs", "Leave it out: --shift none.")
    count = len(leaves(x)[0])
    mask = torch.ones(count, dtype=torch.bool, device=support.mask.device)
    here = [Episode(support, Examples(x, support.y.new_full((count,), UNLABELLED), mask))]
    found = learner.calibrate(params, here)
    moving = affine(learner, found) if shift == "entropy" else {}
    if shift == "entropy" and not moving:
        raise ConfigError("The network has no normalisation layers with weights. Choose --shift statistics, or none.")
    if shift == "statistics" and all(found[name] is value for name, value in params.items() if name in found):
        raise ConfigError(
            "Nothing of this network follows its inputs: it has no BatchNorm layers that take statistics "
            "(norm='running'). Choose --shift entropy, or none."
        )
    for value in moving.values():
        value.requires_grad_()
    if moving:
        optimizer = torch.optim.Adam(moving.values(), lr=_RATE)
        for _ in range(steps):
            with torch.enable_grad():
                loss = entropy(learner, found | moving, support, x)
                for value, grad in zip(moving.values(), torch.autograd.grad(loss, list(moving.values())), strict=True):
                    value.grad = grad
            optimizer.step()
            found = learner.calibrate(found | {n: v.detach().clone() for n, v in moving.items()}, here)
    return found


def affine(learner: Learner, params: Params) -> Params:
    """Copies of the scales and offsets of all normalisation layers, by their names in φ."""
    return {
        name: params[name].clone()
        for prefix, network in learner.networks.items()
        for path, layer in network.module.named_modules()
        if isinstance(layer, _LAYERS)
        for own, _ in layer.named_parameters(recurse=False)
        if (name := f"{prefix}{PARAMETER}{path}{'.' if path else ''}{own}") in params
    }


def entropy(learner: Learner, params: Params, support: Examples, x: Features) -> Tensor:
    """Mean entropy, in nats, of the answers for x after learning the support set: a scalar."""
    logits = learner.predict(params, learner.adapt(params, support), x).log_softmax(1)
    return -(logits.exp() * logits).sum(1).mean()
