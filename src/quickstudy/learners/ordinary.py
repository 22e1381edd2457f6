"""The way back: a trained network as the ordinary module that it was."""

from __future__ import annotations

import copy

import torch
from torch import nn

from quickstudy.entries import CONSTANT, NORMALISATION, PARAMETER, prefixed
from quickstudy.episode import Params
from quickstudy.errors import ModelError
from quickstudy.learners.given import given_part
from quickstudy.learners.network import Network
from quickstudy.learners.normalise import as_buffers


def as_module(network: Network, params: Params) -> nn.Module:
    """A copy of the network's module that holds φ, of which a second network is given its own entries, without its
    name; of one that was given inside another, the given one.

    BatchNorm layers hold their averages: call `eval()` before use. Raises ModelError where no ordinary module computes
    the same.
    """
    if network.transductive or network.norm == "per_step":
        raise ModelError(
            "No ordinary module computes what this network does: its BatchNorm layers normalise by the batch at hand, "
            "or otherwise at each inner step. Take an adapted model instead: run.adapt(…).frozen()."
        )
    values = prefixed(PARAMETER, params) | prefixed(CONSTANT, params)
    values |= as_buffers(prefixed(NORMALISATION, params))
    module = copy.deepcopy(network.module)
    with torch.no_grad():
        for name, value in (*module.named_parameters(), *module.named_buffers()):
            if name in values:
                value.copy_(values[name])
    return given_part(module)
