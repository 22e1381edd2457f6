"""LearnedOptimizer in the place of one of torch.optim: the same numbers as its rule, states, files, refusals."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.episode import Params
from quickstudy.errors import CheckpointError, ConfigError, RunError, ShapeError
from quickstudy.inner import RULES, SGD, Adam, LSTMRule, MLPRule, Rule
from quickstudy.optim import LearnedOptimizer
from quickstudy.optim.optimizer import load_rule, save_rule
from quickstudy.storage.tensors import save_tensors


def made(name: str, lr: float = 0.05, dtype: torch.dtype = torch.float64) -> tuple[Rule, Params]:
    rule = RULES[name](lr=lr)
    weights = rule.init_hyper({"x": torch.zeros(1, dtype=dtype)}, torch.Generator().manual_seed(0))
    return rule, {n: v + 0.1 * torch.randn(v.shape, generator=torch.Generator().manual_seed(1)) for n, v in
                  weights.items()} if rule.learned else weights  # fmt: skip


def module(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).to(dtype)


X = torch.randn((6, 3), generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def loss_of(model: nn.Module) -> Tensor:
    dtype = next(model.parameters()).dtype
    result: Tensor = (model(X.to(dtype)) - 1).square().mean()
    return result


def take(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    return [float(optimizer.step(closure)) for _ in range(steps)]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", RULES)
def test_updates_are_those_of_the_rule(name: str) -> None:
    rule, weights = made(name)
    model = module()
    params = {n: p.detach().clone() for n, p in model.named_parameters()}
    state = rule.init(params)
    losses = take(model, LearnedOptimizer(model.parameters(), rule, weights), 5)
    for step in range(5):
        value, grads = torch.func.grad_and_value(
            lambda p: (torch.func.functional_call(model, p, (X,)) - 1).square().mean()
        )(params)[::-1]
        assert losses[step] == pytest.approx(float(value), rel=1e-10)
        updates, state = rule.update(weights, grads, state, params, value)
        params = {n: p + updates[n] for n, p in params.items()}
    for n, p in model.named_parameters():
        torch.testing.assert_close(p.detach(), params[n], rtol=1e-10, atol=1e-12)


def test_with_the_weights_of_a_plain_rule_it_is_torch_s_optimizer() -> None:
    one, other = module(), module()
    take(one, LearnedOptimizer(one.parameters(), Adam(lr=0.03), {"lr": torch.tensor(0.03).double()}), 4)
    take(other, torch.optim.Adam(other.parameters(), lr=0.03), 4)
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["lstm", "mlp", "meta-lstm"])
def test_a_restored_state_goes_on_to_the_same_bits(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    rule, weights = made(name, dtype=torch.float32)
    model = module(dtype)
    optimizer = LearnedOptimizer(model.parameters(), rule, weights)
    take(model, optimizer, 3)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
    expected = take(model, optimizer, 4)
    stored = torch.load(tmp_path / "state.pt", weights_only=True)
    again = module(dtype)
    again.load_state_dict(stored["model"])
    resumed = LearnedOptimizer(again.parameters(), rule, weights)
    resumed.load_state_dict(stored["optimizer"])
    assert take(again, resumed, 4) == expected
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_state_of_other_weights_is_refused() -> None:
    rule, weights = made("lstm")
    model = module()
    optimizer = LearnedOptimizer(model.parameters(), rule, weights)
    changed = LearnedOptimizer(model.parameters(), rule, weights | {"last.bias": weights["last.bias"] + 1})
    with pytest.raises(ConfigError, match="This state is of the optimizer.*Load the weights it was made with"):
        changed.load_state_dict(optimizer.state_dict())


def test_a_copy_goes_on_by_itself() -> None:
    rule, weights = made("mlp")
    model = module()
    optimizer = LearnedOptimizer(model.parameters(), rule, weights)
    take(model, optimizer, 2)
    pair = copy.deepcopy((model, optimizer))
    expected = take(model, optimizer, 3)
    assert take(*pair, 3) == expected


def test_groups_schedules_and_parameters_without_gradients() -> None:
    rule, weights = made("lstm")
    a, b, idle = (torch.ones(2, dtype=torch.float64, requires_grad=True) for _ in range(3))
    optimizer = LearnedOptimizer([{"params": [a, idle]}, {"params": [b], "lr": 0.5}], rule, weights)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
    for step in range(3):
        before = a.detach().clone(), b.detach().clone()
        a.grad, b.grad = torch.tensor([1.0, -2.0]).double(), torch.tensor([1.0, -2.0]).double()
        optimizer.step()
        moved_a, moved_b = a.detach() - before[0], b.detach() - before[1]
        assert moved_a.abs().min() > 0
        torch.testing.assert_close(moved_b, 0.5 * moved_a)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1**step)
        schedule.step()
    assert torch.equal(idle, torch.ones(2).double()) and idle not in optimizer.state
    optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)]})
    assert optimizer.param_groups[2]["lr"] == 1.0


def test_a_file_keeps_rule_weights_and_facts(tmp_path: Path) -> None:
    rule = MLPRule(lr=0.07, hidden=5, decays=(0.3, 0.8), scale="secant")
    weights = rule.init_hyper({"x": torch.zeros(1)}, torch.Generator().manual_seed(0))
    model = module(torch.float32)
    path = tmp_path / "mine.safetensors"
    optimizer = qs.LearnedOptimizer(model.parameters(), rule, weights)
    optimizer.save(path, {"trained on": "nothing"})
    other = module(torch.float32)
    loaded = qs.LearnedOptimizer.load(path, other.parameters())
    assert loaded.rule == rule and load_rule(path)[2] == {"trained on": "nothing"}
    assert all(torch.equal(loaded.weights[name], value) for name, value in weights.items())
    assert take(model, optimizer, 3) == take(other, loaded, 3)


def test_files_that_are_something_else_are_refused(tmp_path: Path) -> None:
    params = [torch.zeros(1, requires_grad=True)]
    path = tmp_path / "file.safetensors"
    with pytest.raises(RunError, match=r"There is no .*file\.safetensors"):
        LearnedOptimizer.load(path, params)
    path.write_bytes(b"not a file of tensors")
    with pytest.raises(CheckpointError, match="truncated or not a safetensors file"):
        LearnedOptimizer.load(path, params)
    save_tensors(path, {"w": torch.zeros(1)}, {"kind": "run"})
    with pytest.raises(CheckpointError, match="of the kind 'run', expected 'learned optimizer'"):
        LearnedOptimizer.load(path, params)
    rule, weights = made("lstm")
    save_rule(path, rule, weights)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="does not match its checksum"):
        LearnedOptimizer.load(path, params)
    facts = {"kind": "learned optimizer", "rule": "newer", "options": {}, "facts": {}}
    save_tensors(path, {"w": torch.zeros(1)}, facts)
    with pytest.raises(CheckpointError, match="a rule called 'newer', which is not known here"):
        LearnedOptimizer.load(path, params)


def test_what_it_cannot_move_is_refused_with_the_way_out() -> None:
    rule, weights = made("lstm")
    for wrong, words in (
        (torch.zeros(2, dtype=torch.complex64, requires_grad=True), r"\(2,\) holds complex numbers.*view_as_real"),
        (torch.zeros(3, dtype=torch.int64), r"\(3,\) holds integers \(torch.int64\)"),
    ):
        with pytest.raises(ShapeError, match=words):
            LearnedOptimizer([wrong], rule, weights)
    table = nn.Embedding(4, 2, sparse=True)
    optimizer = LearnedOptimizer(table.parameters(), rule, weights)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ShapeError, match=r"\(4, 2\) is sparse.*Make it dense"):
        optimizer.step()
    params = [torch.zeros(1, requires_grad=True)]
    with pytest.raises(ConfigError, match="not the weights of a MLPRule.*'first.bias'"):
        LearnedOptimizer(params, MLPRule(lr=0.1), weights)
    with pytest.raises(ConfigError, match=r"'lower\.input' has the shape \(2, 80\), expected \(2, 20\)"):
        LearnedOptimizer(params, LSTMRule(lr=0.1, hidden=5), {n: w for n, w in weights.items() if n == "lower.input"}
                         | {n: w for n, w in made_small().items() if n != "lower.input"})  # fmt: skip
    with pytest.raises(ConfigError, match="treats all tensors alike, found rates='element'"):
        LearnedOptimizer(params, SGD(lr=0.1, rates="element"), {"lr": torch.ones(1)})
    with pytest.raises(ConfigError, match="cannot be negative, found -1"):
        LearnedOptimizer(params, rule, weights, lr=-1)
    meta = LearnedOptimizer(params, *made("meta-lstm"))
    params[0].grad = torch.ones(1)
    with pytest.raises(ConfigError, match="was not given it.*closure"):
        meta.step()


def made_small() -> Params:
    return LSTMRule(lr=0.1, hidden=5).init_hyper({"x": torch.zeros(1)}, torch.Generator().manual_seed(0))
