"""What networks draw in training is a function of keys; after training they draw nothing, and calls change nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

import quickstudy as qs
from quickstudy import rng
from quickstudy.engine import Engine
from quickstudy.engine.plan import Plan
from quickstudy.episode import Episode
from quickstudy.errors import ModelError
from quickstudy.learners import Network
from quickstudy.learners.chance import QUERIES, Drawing, apart, chances
from quickstudy.learners.given import as_given
from quickstudy.learners.maml_family import maml
from quickstudy.learners.probe import probe, vmaps
from quickstudy.registry import formats, learners
from quickstudy.runs.train import resume, train
from quickstudy.spec import TaskSpec
from quickstudy.training.learner import build_learner

ROWS = formats.make("array", shape=(6,))
CPU = torch.device("cpu")
KEY = rng.key(3)


class DropPath(nn.Module):
    """Stochastic depth as image networks write it."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = x.new_empty((len(x), *(1 for _ in x.shape[1:]))).bernoulli_(0.7)
        return x * kept.div_(0.7)


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x[:, None].expand(-1, 3, -1))[:, 0]


class Functional(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.4, self.training)


DRAWING: dict[str, Callable[[], nn.Module]] = {
    "dropout": lambda: nn.Dropout(0.4), "in place": lambda: nn.Dropout(0.4, inplace=True),
    "alpha": lambda: nn.AlphaDropout(0.2), "rrelu": lambda: nn.RReLU(), "functional": Functional,
    "drop path": DropPath, "attention": Attending,
}  # fmt: skip


def network(name: str, outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 6), DRAWING[name](), nn.Tanh(), nn.Linear(6, outputs))


@pytest.mark.parametrize("name", DRAWING)
def test_draws_are_a_function_of_key_step_and_part(name: str) -> None:
    net, x = Network(as_given(network(name))), torch.randn(5, 6)
    params = net.init(torch.Generator().manual_seed(0))

    def drawn(key: Tensor | None, step: int | None = None) -> Tensor:
        with chances(key):
            return net(params, x, step=None if step is None else torch.tensor(step))

    before = torch.get_rng_state()
    assert torch.equal(drawn(KEY), drawn(KEY)) and torch.equal(drawn(KEY, 2), drawn(KEY, 2))
    with chances(KEY), apart(QUERIES):
        query = net(params, x)
    assert (
        len({tuple(t.flatten().tolist()) for t in (drawn(KEY), drawn(KEY + 1), drawn(KEY, 0), drawn(KEY, 1), query)})
        == 5
    )
    resting = net.module.eval()
    torch.testing.assert_close(drawn(None), resting(x))
    assert torch.equal(before, torch.get_rng_state()), "the process's random numbers were used"


def test_dropout_is_its_definition() -> None:
    net, x = Network(nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.4))), torch.randn(50, 6)
    params = net.init(torch.Generator().manual_seed(0))
    kept = rng.uniform(rng.fold(KEY, 1), (50, 6)) >= 0.4
    with chances(KEY):
        found = net(params, x)
    z = F.linear(x, params["network.0.weight"], params["network.0.bias"])
    torch.testing.assert_close(found, z * kept / 0.6)


def test_attention_drops_weights() -> None:
    """With the identity as values, what comes out are the weights."""
    q, k, values = torch.randn(2, 4, 8), torch.randn(2, 5, 8), torch.eye(5).expand(2, 5, 5)
    for mask in (None, torch.rand(4, 5) > 0.3):
        weights = F.scaled_dot_product_attention(q, k, values, attn_mask=mask)
        with Drawing(KEY):
            dropped = F.scaled_dot_product_attention(q, k, values, attn_mask=mask, dropout_p=0.25)
            same = F.scaled_dot_product_attention(q, k, values, attn_mask=mask)
        assert torch.equal(same, weights)
        gone = dropped == 0
        torch.testing.assert_close(dropped[~gone], weights[~gone] / 0.75)
        assert 0 < int((gone & (weights > 0)).sum()) < 20
    causal = F.scaled_dot_product_attention(q, k[:, :4], values[:, :4, :4], is_causal=True)
    with Drawing(KEY):
        dropped = F.scaled_dot_product_attention(q, k[:, :4], values[:, :4, :4], dropout_p=1e-9, is_causal=True)
    torch.testing.assert_close(dropped, causal)


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.Dropout(0.3), torch.ones(2000, 10)), (nn.Dropout2d(0.3), torch.ones(300, 40, 3, 3)),
        (nn.AlphaDropout(0.3), torch.randn(4000, 10)), (nn.FeatureAlphaDropout(0.3), torch.randn(800, 20, 2)),
    ],
)  # fmt: skip
def test_moments_are_kept(layer: nn.Module, x: Tensor) -> None:
    with Drawing(KEY):
        dropped = layer(x)
    assert float(dropped.mean()) == pytest.approx(float(x.mean()), abs=0.05)
    if isinstance(layer, nn.AlphaDropout | nn.FeatureAlphaDropout):
        assert float(dropped.std()) == pytest.approx(1.0, abs=0.05)
    if isinstance(layer, nn.Dropout2d):
        assert all(len(set(channel.flatten().tolist())) == 1 for channel in dropped[0])


def test_attention_may_be_called_by_names() -> None:
    q, k, v = torch.randn(2, 4, 8), torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    with Drawing(KEY):
        placed = F.scaled_dot_product_attention(q, k, v, dropout_p=0.25)
    with Drawing(KEY):
        named = F.scaled_dot_product_attention(query=q, key=k, value=v, dropout_p=0.25)
    assert torch.equal(placed, named)


def test_draws_of_another_form_are_refused() -> None:
    """Two results, or one that is put elsewhere: what would be answered for them is not what is asked."""
    for draw in (lambda: torch.native_dropout(torch.ones(3), 0.5, True), lambda: torch.rand(3, out=torch.empty(3))):
        with Drawing(KEY), pytest.raises(ModelError, match="cannot be made to repeat"):
            draw()


def test_draws_that_cannot_repeat_are_refused() -> None:
    class Choosing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, torch.multinomial(torch.ones(6), 6)] if self.training else x

    net = Network(nn.Sequential(nn.Linear(6, 6), Choosing()))
    with (
        chances(KEY),
        pytest.raises(ModelError, match=r"draws at random by torch.multinomial.*cannot be made to repeat"),
    ):
        net(net.init(torch.Generator()), torch.randn(3, 6))


def tasks(dtype: torch.dtype) -> tuple[TaskSpec, Episode]:
    source = qs.tasks.linear(dimensions=6).sampled(qs.Sampling(ways=2, shots=3, queries=4))
    episodes = source.episodes("train", torch.arange(3))
    return source.spec, Episode(*(part._replace(x=part.x.to(dtype)) for part in episodes))  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["dropout", "functional", "drop path", "attention"])
def test_meta_gradients_with_draws_are_exact(name: str) -> None:
    """Against finite differences in float64, and the same by every plan."""
    spec, episodes = tasks(torch.float64)
    learner = maml(network(name, 2).double(), spec, lr=0.1, steps=2)
    params, keys = learner.init(torch.Generator().manual_seed(0)), torch.arange(3) + 7
    assert vmaps(learner.network, spec.format)
    plain = Engine(learner, CPU, "loop").gradients(params, episodes, keys)
    along = {n: torch.randn(p.shape, dtype=p.dtype) for n, p in params.items()}
    points = [{n: p + s * 1e-6 * along[n] for n, p in params.items()} for s in (1, -1)]
    ends = [Engine(learner, CPU, "loop").gradients(point, episodes, keys)[1].mean() for point in points]
    slope = torch.stack([(plain[0][n] * along[n]).sum() for n in plain[0]]).sum()
    torch.testing.assert_close(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-8)
    ways: list[tuple[Any, Any, str]] = [("vmap", "no", "unrolled"), ("loop", "no", "recompute")]
    if name in ("dropout", "drop path"):  # capturing takes seconds
        ways += [("vmap", "whole", "unrolled"), ("vmap", "parts", "recompute")]
    for vectorize, compiled, estimator in ways:
        engine = Engine(learner, CPU, metagrad=estimator).planned(Plan(vectorize, compiled=compiled))
        other, again = (engine.gradients(params, episodes, keys + more) for more in (0, 1))
        for n, value in plain[0].items():
            torch.testing.assert_close(other[0][n], value, rtol=1e-8, atol=1e-10, msg=f"{vectorize} {compiled} {n}")
        assert not torch.equal(again[1], other[1]), "the keys are constants of the graph"


def config(name: str, **changes: Any) -> qs.RunConfig:
    settings = {"iterations": 8, "validation_episodes": 3, "validate_every": 4} | changes
    part = learners.part(name)
    return qs.RunConfig(name="x", learner=part, ways=3, queries=2, device="cpu", compile="off", **settings)


def source() -> Any:
    return qs.tasks.arrays(
        torch.randn(240, 6, generator=torch.Generator().manual_seed(0)), [i % 24 for i in range(240)]
    )


@pytest.mark.parametrize("name", ["protonet", "maml", "simpleshot"])
def test_runs_with_dropout_repeat_and_go_on_to_the_same_bits(name: str, tmp_path: Path) -> None:
    net = network("dropout")
    whole = train(config(name), module=net, source=source(), out=tmp_path / "whole", quiet=True)
    train(config(name, iterations=4), module=net, source=source(), out=tmp_path / "half", quiet=True)
    torch.manual_seed(99)
    gone_on = resume(tmp_path / "half", module=net, source=source(), quiet=True, iterations=8)
    without = train(config(name), module=network("dropout").eval(), source=source(), out=tmp_path / "e", quiet=True)
    for key, value in whole.params.items():
        assert torch.equal(gone_on.params[key], value), key
    assert any(not torch.equal(without.params[n], v) for n, v in whole.params.items()), (
        "nothing was dropped in training"
    )
    model = whole.adapt(torch.randn(6, 6), list("aabbcc"))
    x = torch.randn(4, 6)
    assert torch.equal(model(x), model(x))


def test_spectral_norms_follow_once_a_step(tmp_path: Path) -> None:
    def largest(run: qs.Run) -> float:
        return float(torch.linalg.svdvals(run.module()[0].weight)[0])  # type: ignore[index,union-attr]

    torch.manual_seed(2)
    net = nn.Sequential(spectral_norm(nn.Linear(6, 8)), nn.Tanh(), nn.Linear(8, 3))
    for name in ("protonet", "maml"):
        run = train(config(name, iterations=60, lr=0.03), module=net, source=source(), out=tmp_path / name, quiet=True)
        kept = {n: v.clone() for n, v in run.params.items() if n.startswith("constant.")}
        assert any(not torch.equal(net.get_buffer(n.removeprefix("constant.")), v) for n, v in kept.items())
        assert largest(run) == pytest.approx(1.0, abs=0.05)
        run.adapt(torch.randn(6, 6), list("aabbcc")).predict(torch.randn(2, 6))
        assert all(torch.equal(run.params[n], v) for n, v in kept.items())


def test_what_a_call_in_training_changes_is_changed_once_a_step(tmp_path: Path) -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 3)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.calls += 1
            return self.linear(x)  # type: ignore[no-any-return]

    for name in ("protonet", "maml", "finetune", "simpleshot"):
        run = train(config(name), module=Counting(), source=source(), out=tmp_path / name, quiet=True)
        assert float(run.params["constant.calls"]) == run.kept["step"]
    learner = build_learner(config("protonet"), source().sampled(qs.Sampling(3, 1, 2)).spec, module=Counting())
    probe(learner.network, ROWS)
