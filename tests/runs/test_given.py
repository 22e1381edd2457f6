"""Networks with weights of their own: they start from these, what is frozen stays, and the way back is open."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import assert_same_bits, blobs, class_run, linear_run, train_until
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.errors import ConfigError, ModelError
from quickstudy.inner.partition import matching
from quickstudy.learners.given import as_given
from quickstudy.registry import learners, models
from quickstudy.runs.train import resume, train
from quickstudy.training.config import RunConfig

CLASSIFIERS = ("maml", "fomaml", "anil", "metasgd", "reptile", "imaml", "finetune", "protonet", "r2d2", "simpleshot")


def backbone(outputs: int = 3) -> nn.Sequential:
    """Weights that no initialisation draws; the first layer frozen, a parameter without a layer, zeros at the end."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, outputs))
    nn.init.constant_(net[0].weight, 0.123)
    nn.init.zeros_(net[4].weight)
    net[0].requires_grad_(False)
    net.register_parameter("scale", nn.Parameter(torch.tensor(2.0)))
    return net


def config(name: str = "protonet", options: dict[str, Any] | None = None, **changes: Any) -> RunConfig:
    made = class_run(name, iterations=6, validate_every=6, **changes)
    return made if options is None else replace(made, learner=learners.part(name, **options))


def test_a_network_starts_from_its_own_weights_and_one_line_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = backbone()
    run = train(config(), module=net, source=blobs(), out=tmp_path / "run")
    assert "the network starts from its own weights (--init fresh" in capsys.readouterr().err
    for name, value in net.named_parameters():
        assert torch.equal(run.untrained()[f"network.{name}"], value)
    fresh = train(config(init="fresh"), module=net, source=blobs(), out=tmp_path / "fresh")
    said = capsys.readouterr().err
    assert "the network is drawn anew from the seed, but for scale, which no layer draws (--init given" in said
    assert not torch.equal(fresh.untrained()["network.2.weight"], net[2].weight)
    assert all(not hasattr(layer, "_quickstudy_given") for layer in net.modules()), "the user's module was changed"


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_not_a_bit_of_what_is_frozen_moves(name: str, tmp_path: Path) -> None:
    net = backbone()
    options = {"tune": "all"} if name == "finetune" else {}
    run = train(
        replace(config(name, options), iterations=25), module=net, source=blobs(), out=tmp_path / "run", quiet=True
    )
    for frozen in ("0.weight", "0.bias"):
        assert torch.equal(run.params[f"network.{frozen}"], net.get_parameter(frozen))
    assert not torch.equal(run.params["network.2.weight"], net[2].weight), "nothing else was trained either"
    model = run.adapt(torch.randn(6, 8), list("aabbcc"))
    assert not {"task.0.weight", "task.0.bias"} & model.state.keys()


def test_parts_to_train_are_chosen_by_name(tmp_path: Path) -> None:
    net = backbone()
    net[0].requires_grad_(True)
    run = train(config(trainable=("!2.*", "!scale")), module=net, source=blobs(), out=tmp_path / "a", quiet=True)
    moved = {name for name, value in net.named_parameters() if not torch.equal(run.params[f"network.{name}"], value)}
    assert moved == {"0.weight", "0.bias", "4.weight", "4.bias"}
    head = train(config(trainable=("4.*",)), module=net, source=blobs(), out=tmp_path / "b", quiet=True)
    moved = {name for name, value in net.named_parameters() if not torch.equal(head.params[f"network.{name}"], value)}
    assert moved == {"4.weight", "4.bias"} and all(value.requires_grad for value in net.parameters())
    assert qs.Run(tmp_path / "b", module=net).config.trainable == ("4.*",)
    with pytest.raises(ConfigError, match=r"No parameter matches 'heads.\*', which says what is trained"):
        train(config(trainable=("heads.*",)), module=net, source=blobs(), out=tmp_path / "c", quiet=True)


def test_patterns() -> None:
    names = ["a.w", "a.b", "c.w"]
    assert matching(["a.*"], names) == ["a.w", "a.b"]
    assert matching(["!a.*"], names) == ["c.w"]
    assert matching(["*.w", "!a.*"], names) == ["c.w"]


def test_embeddings_that_are_ready_are_adapted_to_without_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing to train.*--iterations 0"):
        train(config(), module=nn.Identity(), source=blobs(), out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
    run = train(replace(config(), iterations=0), module=nn.Identity(), source=blobs(), out=tmp_path / "run", quiet=True)
    assert run.kept["step"] == 0 and run.evaluate(episodes=50).mean > 0.8
    x, _, _ = (part := blobs().sampled(qs.Sampling(3, 2, 4)).episodes("test", torch.tensor([0]))).support
    assert isinstance(x, Tensor)
    model = run.adapt(x[0], list("aabbcc"))
    model.save(tmp_path / "model")
    query = part.query.x[0]  # type: ignore[index]
    again = qs.load(tmp_path / "model", module=nn.Identity(), device="cpu")
    assert torch.equal(again(query), model(query)) and model.predict(query).names.count("a") == 4
    assert resume(run.folder, module=nn.Identity(), source=blobs(), quiet=True).kept["step"] == 0


def test_a_finished_run_is_trained_longer_to_the_same_bits(tmp_path: Path) -> None:
    train(linear_run(iterations=16), out=tmp_path / "long", quiet=True)
    short = train(linear_run(iterations=8), out=tmp_path / "short", quiet=True)
    assert resume(short.folder, iterations=16, quiet=True).config.iterations == 16
    assert_same_bits(tmp_path / "long", tmp_path / "short")
    with pytest.raises(ConfigError, match="made for 16 steps, so it cannot be trained for 4"):
        resume(short.folder, iterations=4, quiet=True)
    ended = train(linear_run(iterations=8, schedule="CosineAnnealingLR"), out=tmp_path / "ended", quiet=True)
    with pytest.raises(ConfigError, match=r"'CosineAnnealingLR' ends with the run.*--start"):
        resume(ended.folder, iterations=16, quiet=True)


def test_a_run_starts_from_another_of_another_learner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = train(
        replace(config("protonet"), model=models.part("mlp", width=6)), source=blobs(), out=tmp_path / "a", quiet=True
    )
    made = replace(config("maml"), model=models.part("mlp", width=6), start=str(first.folder))
    second = train(made, source=blobs(), out=tmp_path / "b")
    for name in ("linear1.weight", "linear1.bias", "linear2.weight"):
        assert torch.equal(second.untrained()[f"network.{name}"], first.params[f"network.{name}"])
    told = capsys.readouterr().err
    assert f"4 of its parameters start from the run {first.folder}; 2 are drawn anew: network.head.bias" in told
    with pytest.raises(ConfigError, match=r"Nothing of the network fits .* here is 'network.linear1.weight' \(9, 8\)"):
        train(replace(made, model=models.part("mlp", width=9)), source=blobs(), out=tmp_path / "c", quiet=True)


def test_a_start_that_cannot_be_found_again_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that died before its first checkpoint goes on with a module of other weights, to the same bits."""
    made = config(checkpoint_every=5)
    net, other = backbone(), backbone()
    with torch.no_grad():
        other[2].weight.add_(1)
    whole = train(made, module=net, source=blobs(), out=tmp_path / "whole", quiet=True)
    with monkeypatch.context() as patch:
        patch.setattr(
            "small_runs.train", lambda config, **options: train(config, module=net, source=blobs(), **options)
        )
        train_until(2, made, tmp_path / "stopped", monkeypatch)
    resume(tmp_path / "stopped", module=other, source=blobs(), quiet=True)
    assert_same_bits(whole.folder, tmp_path / "stopped")


def normed() -> nn.Sequential:
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4))
    net.train()(3 + torch.randn(500, 8))
    return net


@pytest.mark.parametrize("norm", ["running", "given"])
def test_the_way_back_is_an_ordinary_module(norm: str, tmp_path: Path) -> None:
    made = config("protonet", {"norm": norm})
    run = train(made, module=normed(), source=blobs(), out=tmp_path / "run", quiet=True)
    module, x = run.module(), torch.randn(7, 8)
    assert type(module) is nn.Sequential and not module.training
    torch.testing.assert_close(module(x), run.learner.network(run.params, x))
    again = normed()
    again.load_state_dict(module.state_dict())
    torch.testing.assert_close(again.eval()(x), module(x))
    with pytest.raises(ModelError, match="No ordinary module"):
        train(
            config("protonet", {"norm": "batch"}), module=normed(), source=blobs(),
            out=tmp_path / "batch", quiet=True,
        ).module()  # fmt: skip


def test_batch_norm_stays_as_it_came_if_asked(tmp_path: Path) -> None:
    net = normed()
    for name in ("protonet", "maml"):
        made = config(name, {"norm": "given"}, ways=4 if name == "maml" else 3)
        run = train(made, module=net, source=blobs(), out=tmp_path / name, quiet=True)
        assert torch.equal(run.params["statistics.network.1.mean"], net[1].running_mean)  # type: ignore[arg-type]
        assert torch.equal(run.params["statistics.network.1.variance"], net[1].running_var)  # type: ignore[arg-type]
        assert not torch.equal(run.params["network.1.weight"], net[1].weight)
    x = torch.randn(5, 8)
    given = run.learner.network.init(torch.Generator().manual_seed(0))
    torch.testing.assert_close(run.learner.network(given, x), copy.deepcopy(net).eval()(x))


def test_a_given_part_of_a_larger_network_keeps_its_weights(tmp_path: Path) -> None:
    net = nn.Linear(8, 4)
    run = train(config("incontext", {"layers": 1}), module=net, source=blobs(), out=tmp_path / "r", quiet=True)
    assert torch.equal(run.untrained()["network.encoder.weight"], net.weight)
    module = run.module()
    assert type(module) is nn.Linear and torch.equal(module.weight, run.params["network.encoder.weight"])
    one, two = (as_given(nn.Linear(2, 2)) for _ in range(2))
    assert not torch.equal(one.weight, two.weight)  # type: ignore[arg-type]
