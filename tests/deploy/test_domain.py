"""A model follows unlabelled inputs of a new domain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.deploy.domain import affine, entropy, shifted
from quickstudy.entries import CENTRE, EMBEDDING_MEAN, SPREAD, WHITENING
from quickstudy.episode import Examples
from quickstudy.errors import ConfigError
from quickstudy.registry import learners


def trained(folder: Path, module: nn.Module, learner: str = "protonet", **options: Any) -> qs.Run:
    torch.manual_seed(0)
    x = 3 * torch.eye(8).repeat_interleave(10, 0) + 0.3 * torch.randn(80, 8)
    source = qs.tasks.arrays(x, [f"c{i // 10}" for i in range(80)], val=0.25, test=0.25)
    config = qs.RunConfig(
        name="d", learner=learners.part(learner, **options), ways=2, shots=2, queries=3, iterations=2, meta_batch=2,
        validation_episodes=2,
    )  # fmt: skip
    return qs.train(config, out=folder, module=module, source=source, quiet=True)


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 6))


def test_statistics_are_those_of_the_task_and_its_unlabelled_inputs(tmp_path: Path) -> None:
    run = trained(tmp_path / "r", network())
    x, more = torch.randn(4, 8), 5 + 2 * torch.randn(20, 8)
    model = run.adapt(x, list("aabb"), unlabelled=more, shift="statistics")
    assert model.transductive and "transductive" in repr(model) and model.provenance["unlabelled"] == 20
    weight, bias = (model.params[f"network.0.{n}"] for n in ("weight", "bias"))
    entering = torch.cat([x, more]) @ weight.T + bias
    torch.testing.assert_close(model.params["statistics.network.1.mean"], entering.mean(0), atol=1e-4, rtol=1e-4)
    variance = entering.var(0, unbiased=False)
    torch.testing.assert_close(model.params["statistics.network.1.variance"], variance, atol=1e-3, rtol=1e-3)
    plain = run.adapt(x, list("aabb"))
    assert not plain.transductive and torch.equal(plain.params["network.0.weight"], weight)
    loaded = qs.load(model.save(tmp_path / "m"), module=network())
    assert loaded.transductive and torch.allclose(loaded(more), model(more))


def test_entropy_falls_and_only_normalisation_layers_move(tmp_path: Path) -> None:
    run = trained(tmp_path / "r", network())
    x, more = torch.randn(4, 8), torch.randn(30, 8)
    support = Examples(x, torch.tensor([0, 0, 1, 1]), torch.ones(4, dtype=torch.bool))
    learner = run.learner.at(run.spec.at(2))
    after = {n: shifted(learner, run.params, support, more, "entropy", n) for n in (0, 40)}
    before, then = (float(entropy(learner, after[n], support, more)) for n in (0, 40))
    assert then < before
    moved = {n for n, v in after[40].items() if not torch.equal(v, after[0][n]) and not n.startswith("statistics.")}
    assert moved == {"network.1.weight", "network.1.bias"} == set(affine(learner, run.params))
    assert all(torch.equal(run.params[n], v) for n, v in trained(tmp_path / "s", network()).params.items())  # untouched


def test_a_learner_with_an_inner_loop_follows_too(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(8, 6), nn.LayerNorm(6), nn.Linear(6, 2))
    run = trained(tmp_path / "r", module, "maml", steps=1)
    x, more = torch.randn(4, 8), torch.randn(10, 8)
    model = run.adapt(x, list("aabb"), unlabelled=more, shift="entropy", shift_steps=2)
    assert not torch.equal(model.params["network.1.weight"], run.params["network.1.weight"])


@pytest.mark.parametrize("shift", ["statistics", "entropy"])
def test_whitening_within_classes_takes_labels_and_stays_that_of_training(shift: Any, tmp_path: Path) -> None:
    run = trained(tmp_path / "r", network(), "simpleshot", shrinkage=0.1)
    x, more = torch.randn(4, 8), 5 + 2 * torch.randn(20, 8)
    found = run.adapt(x, list("aabb"), unlabelled=more, shift=shift).params
    learned = run.params[WHITENING]
    assert torch.equal(found[WHITENING], learned) and not torch.allclose(learned, torch.eye(6), atol=0.1)
    with torch.no_grad():
        mean = run.learner.embed(found, more).mean(0)  # type: ignore[attr-defined]
    torch.testing.assert_close(found[EMBEDDING_MEAN], mean)


def test_what_descriptions_of_tasks_are_measured_against_is_not_lost(tmp_path: Path) -> None:
    run = trained(tmp_path / "r", nn.Sequential(nn.Linear(8, 6), nn.LayerNorm(6), nn.Linear(6, 2)), "memory", steps=1)
    x, more = torch.randn(4, 8), torch.randn(9, 8)
    found = run.adapt(x, list("aabb"), unlabelled=more, shift="entropy", shift_steps=1).params
    assert torch.equal(found[CENTRE], run.params[CENTRE]) and torch.equal(found[SPREAD], run.params[SPREAD])


@pytest.mark.parametrize(
    ("shift", "more", "said"),
    [
        ("statistics", None, "follows unlabelled inputs, and there are none"),
        ("statistics", torch.zeros(3, 8), "no BatchNorm layers that take statistics"),
        ("entropy", torch.zeros(3, 8), "no normalisation layers with weights"),
    ],
)
def test_what_cannot_follow_is_refused(tmp_path: Path, shift: Any, more: Tensor | None, said: str) -> None:
    run = trained(tmp_path / "r", nn.Linear(8, 4))
    with pytest.raises(ConfigError, match=said):
        run.adapt(torch.randn(4, 8), list("aabb"), unlabelled=more, shift=shift)
