"""The reader over the cells of tables: what makes no difference to it, and what it does with much."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_tasks import generator, random_params
from torch import Tensor

from quickstudy.episode import Episode, Examples, Params, map_episode
from quickstudy.learners.reader import ReaderLearner
from quickstudy.models.cells import Cells
from quickstudy.models.readers import axial
from quickstudy.models.readers.attention import Attention
from quickstudy.registry import formats, learners, models, sources, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling

COLUMNS = 5
TARGETS = (targets.make("classes", ways=3), targets.make("numbers"))


def made(target: object, hints: bool = True) -> tuple[ReaderLearner, Params, Episode]:
    spec = TaskSpec(formats.make("table", columns=COLUMNS, mixed=True), target)  # type: ignore[arg-type]
    learner: ReaderLearner = learners["axial"](
        models["cells"](spec, head=False).double(), spec, width=8, layers=2, heads=2, hints=hints
    )
    name = "numbers" if learner.spec.target.density else "classes"
    source = sources["mixed_tables"](columns=COLUMNS, target=name).sampled(Sampling(3, 14, 6))
    drawn = source.episodes("train", torch.arange(1))
    drawn = map_episode(lambda t: t[0].double() if t.is_floating_point() else t[0], drawn)
    for part in drawn:
        part.x[:, -1] = 0.0  # type: ignore[index]
    return learner, random_params(learner.init(generator())), drawn


def said(learner: ReaderLearner, params: Params, support: Examples, x: Tensor) -> Tensor:
    return learner.predict(params, learner.adapt(params, support), x)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_the_order_of_rows_and_of_columns_makes_no_difference(target: object) -> None:
    learner, params, (support, query) = made(target)
    answer = said(learner, params, support, query.x)  # type: ignore[arg-type]
    rows, columns = torch.randperm(14), torch.randperm(COLUMNS)
    turned = Examples(support.x[rows][:, columns], support.y[rows], support.mask[rows])  # type: ignore[index]
    torch.testing.assert_close(said(learner, params, turned, query.x[:, columns]), answer)  # type: ignore[index]
    assert answer.std(0).max() > 1e-6


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_columns_that_do_not_vary_can_be_left_out(target: object) -> None:
    learner, params, (support, query) = made(target)
    narrow = learner.at(replace(learner.spec, format=replace(learner.spec.format, columns=COLUMNS - 1)))  # type: ignore[type-var]
    fewer = support._replace(x=support.x[:, :-1])  # type: ignore[index]
    other = query.x.clone()  # type: ignore[union-attr]
    other[:, -1, 0] = 7.0
    answer = said(learner, params, support, other)
    torch.testing.assert_close(said(narrow, params, fewer, query.x[:, :-1]), answer)  # type: ignore[index]


def test_no_query_sees_another() -> None:
    learner, params, (support, query) = made(TARGETS[0])
    state = learner.adapt(params, support)
    together = learner.predict(params, state, query.x)
    alone = torch.cat([learner.predict(params, state, query.x[i : i + 1]) for i in range(6)])  # type: ignore[index]
    torch.testing.assert_close(alone, together)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_much_is_read_in_chunks_with_the_same_answer(target: object, monkeypatch: pytest.MonkeyPatch) -> None:
    learner, params, (support, query) = made(target)
    sizes: list[int] = []
    attend = Attention.forward

    def counted(self: Attention, h: Tensor, *rest: Tensor) -> Tensor:
        sizes.append(h.numel())
        return attend(self, h, *rest)

    monkeypatch.setattr(Attention, "forward", counted)
    with torch.no_grad():
        whole, most = said(learner, params, support, query.x), max(sizes)  # type: ignore[arg-type]
        monkeypatch.setattr(axial, "_MOST", 800)
        sizes.clear()
        torch.testing.assert_close(said(learner, params, support, query.x), whole)  # type: ignore[arg-type]
    assert max(sizes) < 0.6 * most


def test_attention_over_much_is_that_over_little(monkeypatch: pytest.MonkeyPatch) -> None:
    from quickstudy.models.readers import attention

    layer = Attention(8, 2).double()
    h, mask = torch.randn(3, 5, 8).double(), torch.tensor([1, 1, 0, 1, 0, 1]).bool()
    kept = layer.keep(torch.randn(3, 6, 8).double())
    little = layer(h, *kept, mask)
    monkeypatch.setattr(attention, "_MOST", 0)
    torch.testing.assert_close(layer(h, *kept, mask), little)


def test_cells_tell_categories_apart_and_know_gaps() -> None:
    x = torch.tensor([[[9.0, 0, 0], [0, 1, 0], [0.5, 0, 1], [0.5, 0, 2], [0.5, 0, 65]]])
    z = Cells()(x)[0]
    assert z[:, 0].tolist() == [5.0, 0, 0.5, 0.5, 0.5] and z[0, 1] == torch.tensor(9.0).log1p()
    assert z[:, 2].tolist() == [0, 1, 0, 0, 0] and z[:, 3].tolist() == [0, 0, 1, 1, 1]
    assert not z[:2, 4:].any() and not torch.equal(z[2, 4:], z[3, 4:]) and torch.equal(z[2, 4:], z[4, 4:])
    assert torch.equal(Cells()(x[..., 0])[0, 0], z[0])


def test_more_layers_of_what_has_been_learned_move_every_parameter() -> None:
    learner, params, episode = made(TARGETS[1])
    moving = {name: value.requires_grad_() for name, value in params.items() if "codes" not in name}
    grads = torch.autograd.grad(learner.loss(params | moving, episode), list(moving.values()))
    idle = [name for name, grad in zip(moving, grads, strict=True) if not grad.any()]
    assert not [name for name in idle if "key.bias" not in name], idle  # a shift of all keys shifts all scores
