"""What is said of networks before training, against the formulas and against what training finds."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from quickstudy.errors import ConfigError, DataError
from quickstudy.search.proxies import codes, flow, proxies
from quickstudy.select.warm import Search
from quickstudy.space import Range, Space


def mlp(width: int, depth: int = 1, seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = [4, *[width] * depth]
        hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*hidden, nn.Linear(width, 2))


def test_codes_are_the_determinant_of_agreements_counted_one_by_one() -> None:
    network, x = mlp(16, 2), torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    first = (network[0](x) > 0).tolist()
    second = (network[2](network[1](network[0](x))) > 0).tolist()
    passes = [a + b for a, b in zip(first, second, strict=True)]
    kernel = np.array([[sum(p == q for p, q in zip(a, b, strict=True)) for b in passes] for a in passes], dtype=float)
    assert codes(network, x) == pytest.approx(math.log(abs(np.linalg.det(kernel))), rel=1e-9)


def test_examples_that_are_equal_cannot_be_told_apart() -> None:
    assert codes(mlp(8), torch.ones(3, 4)) == -math.inf


def test_flow_of_a_deep_linear_network_is_depth_times_the_sum_over_its_paths() -> None:
    """R = 1ᵀ|W₂||W₁|1 is homogeneous of degree 1 in each layer (Euler), so that each layer contributes R."""
    network = nn.Sequential(nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False))
    paths = float((network[2].weight.abs() @ network[0].weight.abs()).sum().detach())
    before = [p.clone() for p in network.parameters()]
    assert flow(network, torch.randn(1, 4)) == pytest.approx(math.log(2 * paths), rel=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert network.training, "the mode is as before"


def test_what_nothing_reaches_flows_nowhere() -> None:
    dead = mlp(4)
    with torch.no_grad():
        dead[2].weight.zero_()
        dead[2].bias.zero_()
    assert flow(dead, torch.ones(1, 4)) == -math.inf


def test_networks_without_rectifiers_and_single_examples_are_refused() -> None:
    with pytest.raises(ConfigError, match="no ReLU"):
        codes(nn.Linear(2, 2), torch.ones(2, 2))
    with pytest.raises(DataError, match="two or more"):
        codes(mlp(4), torch.ones(1, 4))


def test_a_search_that_sees_proxies_finds_the_largest_network() -> None:
    """The loss falls with the number of weights, which no option tells alone."""
    pytest.importorskip("scipy")
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))

    def build(point: Any) -> nn.Module:
        return mlp(point["width"], point["depth"])

    space = Space({"width": Range(2, 24), "depth": Range(1, 4)}).described(proxies(build, x))
    search = Search(space, None, "predicted", seed=0)
    found = []
    for _ in range(16):
        point = search.propose()
        found.append(-float(sum(p.numel() for p in build(point).parameters())))
        search.tell(point, found[-1])
    best = -sum(p.numel() for p in mlp(24, 4).parameters())
    assert min(found) <= 0.9 * best
