"""Made-up tables of mixed columns: the cells are those that the format would make of them, and there is to learn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from quickstudy.episode import Episode
from quickstudy.errors import ConfigError
from quickstudy.formats import Table
from quickstudy.registry import sources
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.mixed_cells import as_cells


def drawn(target: str, count: int = 200, columns: int = 8) -> Episode:
    size = Sampling(4, 40, 20, min_shots=20)
    return sources["mixed_tables"](columns=columns, target=target).sampled(size).episodes("train", torch.arange(count))


def test_cells_are_those_of_the_format_whose_schema_the_support_teaches() -> None:
    x = torch.tensor([3.0, 1.0, 4.0, 1.5, 9.0, 2.6])
    level = torch.tensor([2, 0, 2, 5, 0, 2])
    gaps = torch.tensor([[0, 0], [0, 0], [1, 0], [0, 0], [0, 0], [0, 1]]).bool()
    seen = torch.tensor([1, 1, 1, 0, 1, 1]).bool()
    both = torch.stack([x, torch.zeros(6)], dim=1)
    made = as_cells(both[None], torch.stack([torch.full((6,), -1), level], 1)[None], gaps[None], seen[None])[0]
    rows = [
        {"n": None if gap[0] else float(n), "c": None if gap[1] else f"town {c}"}
        for n, c, gap in zip(x, level.tolist(), gaps, strict=True)
    ]
    table = Table(mixed=True).learn([row for row, known in zip(rows, seen, strict=True) if known])
    torch.testing.assert_close(made, table.store(rows).x)


def test_every_kind_of_column_is_there_and_numbers_are_finite() -> None:
    for target in ("classes", "numbers"):
        support, query = drawn(target)
        assert isinstance(support.x, Tensor) and isinstance(query.x, Tensor)
        cells = torch.cat([support.x, query.x], dim=1)
        assert torch.isfinite(cells).all() and torch.isfinite(support.y).all()
        value, gap, code = cells.unbind(-1)
        assert set(gap.unique().tolist()) == {0.0, 1.0} and not value[gap > 0].any() and not code[gap > 0].any()
        assert 0.05 < float((code > 0).float().mean()) < 0.5 and 0.005 < float(gap.mean()) < 0.2
        columns = (value.abs().amax(1) > 0).sum(1)
        assert int(columns.min()) <= 2 and int(columns.max()) == 8
        counts = support.mask.sum(1)
        assert int(counts.min()) == 20 and int(counts.max()) == 40


def test_classes_can_be_learned_but_not_guessed_and_few_are_the_most_frequent_number() -> None:
    support, query = drawn("classes", 400)
    assert isinstance(support.x, Tensor) and isinstance(query.x, Tensor)
    far = torch.cdist(query.x.flatten(2), support.x.flatten(2)).masked_fill(~support.mask[:, None], torch.inf)
    hit = (support.y.gather(1, far.argmin(2)) == query.y)[query.mask].float().mean()
    blind = (support.y.mode(1).values[:, None] == query.y)[query.mask].float().mean()
    assert hit > blind + 0.03
    ways = torch.tensor([len(y[m].unique()) for y, m in zip(support.y, support.mask, strict=True)])
    assert int((ways <= 2).sum()) > int((ways == 4).sum()) > 0
    share = torch.tensor([float((y == y.mode().values).float().mean()) for y in support.y])
    assert float(share.min()) < 0.45 and float(share.max()) > 0.8  # balanced tasks, and others


def test_numbers_depend_on_the_columns_but_not_on_all() -> None:
    support, query = drawn("numbers", 200)
    assert isinstance(support.x, Tensor) and isinstance(query.x, Tensor)
    better, idle = 0, 0
    for task in range(200):
        known = support.mask[task]
        x, y = support.x[task, known, :, 0], support.y[task, known]
        one = torch.cat([x, torch.ones(len(x), 1)], 1)
        weights = torch.linalg.solve(one.T @ one + 2.0 * torch.eye(9), one.T @ y)
        asked = torch.cat([query.x[task, :, :, 0], torch.ones(20, 1)], 1) @ weights
        better += int((asked - query.y[task]).square().mean() < (y.mean() - query.y[task]).square().mean())
        idle += int((weights[:-1].abs() < 0.02).sum())
    assert better > 110 and idle > 20


def test_wrong_sizes_are_refused_and_the_stream_is_of_its_keys() -> None:
    with pytest.raises(ConfigError, match="columns must lie between 1 and 96"):
        sources["mixed_tables"](columns=97)
    with pytest.raises(ConfigError, match="at least 2 classes"):
        sources["mixed_tables"](columns=4).sampled(Sampling(1, 4, 4))
    source = sources["mixed_tables"](columns=4, target="numbers").sampled(Sampling(1, 6, 4))
    one, two = (source.seeded(seed).episodes("train", torch.tensor([3])).support.y for seed in (1, 2))
    assert not torch.equal(one, two)
