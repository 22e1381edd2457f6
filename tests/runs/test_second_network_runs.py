"""Runs of a learner with two networks: training, storage, the way back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import blobs, class_run
from torch import nn
from two_networks import Scaled

import quickstudy as qs
from quickstudy.errors import ConfigError


def test_a_run_trains_stores_and_gives_back_both_networks(tmp_path: Path) -> None:
    config = class_run("relation-of-a-test", iterations=20, calibration_episodes=3)
    module = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4))
    run = qs.train(config, module=module, source=blobs(), out=tmp_path / "one", quiet=True)
    before = run.parts.engine.learner.init(torch.Generator().manual_seed(config.seed))
    still = {n for n in before if torch.equal(before[n], run.params[n])}
    assert still == {"relation.network.last.weight", "relation.network.last.bias", "relation.constant.k"}
    again = qs.Run(run.folder, module=module, source=blobs())
    second = again.module("relation")
    assert isinstance(second, Scaled)
    pairs = torch.randn(7, 8)
    torch.testing.assert_close(second(pairs), again.learner.networks["relation."](again.params, pairs))
    assert not torch.equal(second.norm.running_mean, torch.zeros(6))
    assert not set(again.module().state_dict()) & set(second.state_dict())
    with pytest.raises(ConfigError, match="'relatoin'"):
        again.module("relatoin")
    result = again.evaluate(episodes=20, split="val")
    assert result.mean == run.evaluate(episodes=20, split="val").mean
    config = replace(config, start=str(run.folder), iterations=0)
    other = qs.train(config, module=module, source=blobs(), out=tmp_path / "two", quiet=True)
    assert all(torch.equal(value, other.params[name]) for name, value in run.params.items() if "statistics" not in name)


def test_a_run_takes_both_networks_from_a_dict_of_modules(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder, second = (
        nn.Sequential(nn.Linear(8, 8), nn.Tanh()),
        nn.Sequential(nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 1)),
    )
    second[2].requires_grad_(False)
    both = nn.ModuleDict({"network": encoder, "relation": second})
    config = class_run("relationnet", iterations=0)
    run = qs.train(config, module=both, source=blobs(), out=tmp_path / "given", quiet=True)
    assert torch.equal(run.params["network.0.weight"], encoder[0].weight)
    assert torch.equal(run.params["relation.network.0.weight"], second[0].weight)
    config = replace(config, iterations=15, trainable=("relation.*",))
    run = qs.train(config, module=both, source=blobs(), out=tmp_path / "trained", quiet=True)
    assert torch.equal(run.params["network.0.weight"], encoder[0].weight)
    assert not torch.equal(run.params["relation.network.0.weight"], second[0].weight)
    assert torch.equal(run.params["relation.network.2.weight"], second[2].weight)
    x = torch.randn(5, 16)
    torch.testing.assert_close(run.module("relation")(x), run.learner.networks["relation."](run.params, x))
    for name in ("relatoin", "transform"):
        config = replace(config, trainable=())
        with pytest.raises(ConfigError, match=f"for 'relationnet' 'relation'; found 'network', '{name}'"):
            qs.train(config, module=nn.ModuleDict({"network": encoder, name: second}), source=blobs(), quiet=True)
