"""Multi-layer perceptron."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from quickstudy.hints import Depth, Size
from quickstudy.models.head import outputs_of
from quickstudy.registry import models
from quickstudy.spec import TaskSpec


@models.register("mlp")
def mlp(spec: TaskSpec, head: bool = True, *, width: Size = 40, depth: Depth = 2) -> nn.Sequential:
    """Fully connected ReLU network; 1-40-40-1 by default, as in the MAML paper's regression (Finn et al. 2017).

    With `head` it ends in `spec.outputs` numbers, without in `width` features. Inputs are flattened.

    width: units of each hidden layer. depth: hidden layers.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=spec.format.flat())
    size = layers["flatten"](torch.zeros(1, *spec.input_shape)).shape[1]
    for index in range(depth):
        layers[f"linear{index + 1}"] = nn.Linear(size, width)
        if head or index + 1 < depth:
            layers[f"relu{index + 1}"] = nn.ReLU()
        size = width
    if head:
        layers["head"] = nn.Linear(size, outputs_of(spec))
        if (shape := spec.target.layer()) is not None:
            layers["shape"] = shape
    return nn.Sequential(layers)
