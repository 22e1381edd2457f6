"""What agents remember with: steps and sequences alike, the papers' recurrences, padding, and many tasks at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from quickstudy.rl.agents.cores import CORES, Core, Memory
from quickstudy.rl.agents.cores import fast as fast_weights
from quickstudy.rl.agents.cores.fast import LinearAttention

STEPS, FEATURES, WIDTH = 11, 3, 8
KINDS = pytest.mark.parametrize("kind", CORES)


@pytest.fixture(autouse=True)
def _in_short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few steps are several chunks, the last of which is shorter."""
    monkeypatch.setattr(fast_weights, "_CHUNK", 4)


def made(kind: str) -> Core:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CORES[kind](FEATURES, WIDTH).double()


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def remembered(core: Core, *lanes: int) -> Memory:
    """A memory that is not empty, such as there can be."""
    memory = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in core.shapes.items()}
    _, memory = core.sequence(drawn(5, FEATURES, seed=2), memory, torch.tensor(5))
    return {name: value.detach().expand(*lanes, *value.shape) for name, value in memory.items()}


def by_steps(core: Core, z: Tensor, memory: Memory) -> Iterator[tuple[Tensor, Memory]]:
    memory = {name: value[None] for name, value in memory.items()}
    for one in z:
        said, memory = core.step(one[None], memory)
        yield said[0], {name: value[0] for name, value in memory.items()}


@KINDS
def test_a_sequence_is_its_steps_and_padding_changes_nothing(kind: str) -> None:
    core, z = made(kind), drawn(STEPS, FEATURES)
    begin = remembered(core)
    says, memories = zip(*by_steps(core, z, begin), strict=True)
    for count, wanted in enumerate((begin, *memories)):
        padded = torch.cat([z[:count], 100 * drawn(STEPS - count, FEATURES, seed=3)])
        said, after = core.sequence(padded, begin, torch.tensor(count))
        torch.testing.assert_close(said[:count], torch.stack(says)[:count])
        assert {name: value.shape for name, value in after.items()} == dict(core.shapes)
        torch.testing.assert_close(after, wanted)


@KINDS
def test_lanes_know_nothing_of_each_other(kind: str) -> None:
    core, z = made(kind), drawn(3, FEATURES)
    begin = remembered(core, 3)
    said, after = core.step(z, begin)
    alone, after_alone = core.step(z[1:2], {name: value[1:2] for name, value in begin.items()})
    torch.testing.assert_close(said[1:2], alone)
    torch.testing.assert_close({name: value[1:2] for name, value in after.items()}, after_alone)


@KINDS
def test_gradients_are_those_of_finite_differences(kind: str) -> None:
    core, z = made(kind), drawn(6, FEATURES).requires_grad_()
    begin, weights = remembered(core), dict(core.named_parameters())

    def said(z: Tensor, *values: Tensor) -> Tensor:
        class Says(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.core = core

            def forward(self, z: Tensor) -> Tensor:
                return self.core.sequence(z, begin, torch.tensor(6))[0]

        named = {f"core.{name}": value for name, value in zip(weights, values, strict=True)}
        found: Tensor = torch.func.functional_call(Says(), named, z)
        return found

    assert torch.autograd.gradcheck(said, (z, *weights.values()), fast_mode=True)


@KINDS
def test_tasks_at_once_are_tasks_one_by_one(kind: str) -> None:
    core, z, counts = made(kind), drawn(4, STEPS, FEATURES).requires_grad_(), torch.tensor([0, 3, 8, STEPS])
    begin = remembered(core)
    at_once = torch.func.vmap(core.sequence, in_dims=(0, None, 0))(z, begin, counts)
    alone = [core.sequence(one, begin, count) for one, count in zip(z, counts, strict=True)]
    one_by_one = torch.stack([said for said, _ in alone])
    torch.testing.assert_close(at_once[0], one_by_one)
    for name, value in at_once[1].items():
        torch.testing.assert_close(value, torch.stack([after[name] for _, after in alone]))
    entries = (z, *core.parameters())
    ours, theirs = (torch.autograd.grad(found.square().sum(), entries) for found in (at_once[0], one_by_one))
    torch.testing.assert_close(ours, theirs)


def test_the_gated_unit_is_that_of_torch() -> None:
    core, theirs = made("gru"), torch.nn.GRU(FEATURES, WIDTH, dtype=torch.float64)
    compare_with_torch(core, theirs, ("h",))


def test_long_short_term_memory_is_that_of_torch() -> None:
    core, theirs = made("lstm"), torch.nn.LSTM(FEATURES, WIDTH, dtype=torch.float64)
    compare_with_torch(core, theirs, ("h", "c"), opened=slice(WIDTH, 2 * WIDTH))


def compare_with_torch(core: Core, theirs: torch.nn.RNNBase, names: tuple[str, ...], opened: slice = slice(0)) -> None:
    """opened: the gate to whose bias ours adds 1."""
    z, begin, own = drawn(STEPS, FEATURES), remembered(core), dict(core.named_parameters())
    with torch.no_grad():
        for their_name, name in (("ih", "enter"), ("hh", "again")):
            getattr(theirs, f"weight_{their_name}_l0").copy_(own[f"{name}.weight"])
            getattr(theirs, f"bias_{their_name}_l0").copy_(own[f"{name}.bias"])
        theirs.get_parameter("bias_hh_l0")[opened] += 1
    first = tuple(begin[name][None] for name in names)
    said, last = theirs(z, first if len(first) > 1 else first[0])
    ours, after = core.sequence(z, begin, torch.tensor(STEPS))
    torch.testing.assert_close(ours, said)
    torch.testing.assert_close(
        tuple(after[name] for name in names), tuple(s[0] for s in (last if len(first) > 1 else (last,)))
    )


def test_fast_weights_are_sums_of_decaying_outer_products() -> None:
    """Katharopoulos et al. 2020, equations 9 to 12 with a decay and softmax as feature map, from the weights of each
    step apart."""
    torch.manual_seed(0)
    layer = LinearAttention(WIDTH, 2).double()
    z, size = drawn(STEPS, WIDTH), WIDTH  # of a head; all together are twice as wide as what comes in
    q, k, v = layer.asks(z).view(STEPS, 3, 2, size).unbind(1)
    share = torch.sigmoid(layer.decay.logit)
    torch.testing.assert_close(share, torch.tensor([1 - 1 / 64, 1 - 1 / 128], dtype=torch.float64))
    heads = []
    for head in range(2):
        rows = []
        for t in range(STEPS):
            weights = torch.stack(
                [
                    share[head] ** (t - s) * (torch.softmax(4 * q[t, head], 0) @ torch.softmax(4 * k[s, head], 0))
                    for s in range(t + 1)
                ]
            )
            rows.append(weights @ v[: t + 1, head] / (1 + weights.sum()))
        heads.append(torch.stack(rows))
    wanted = layer.out(torch.cat(heads, 1))
    empty = torch.zeros(2, size, size + 1, dtype=torch.float64)
    torch.testing.assert_close(layer.sequence(z, empty, torch.tensor(STEPS))[0], wanted)


def test_long_trials_neither_vanish_nor_overflow() -> None:
    core = CORES["fast"](FEATURES, WIDTH)
    empty = {name: torch.zeros(shape) for name, shape in core.shapes.items()}
    said, after = core.sequence(torch.ones(3000, FEATURES), empty, torch.tensor(3000))
    assert torch.isfinite(said).all() and all(torch.isfinite(value).all() for value in after.values())
    (grad,) = torch.autograd.grad(said[-1].square().sum(), [core.blocks[0].attention.decay.logit])
    assert torch.isfinite(grad).all()
