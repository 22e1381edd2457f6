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
