"""Records of groups: no speaker, session or track is on both sides of a task, or each task is of one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import quickstudy as qs
from quickstudy.errors import ConfigError, DataError
from quickstudy.registry import sources
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.folder import folder

SIZE = qs.Sampling(ways=3, shots=2, queries=3)


def spoken(
    speakers: int, each: int, classes: int = 15, own: bool = False, rule: Any = "apart", present: float = 1.0
) -> ClassSource:
    """Examples whose features are their class, their group and their number. own: every class has groups of its own."""
    rows = [(c, s + c * speakers * own, i) for c in range(classes) for s in range(speakers) for i in range(each)]
    there = torch.rand(len(rows), generator=torch.Generator().manual_seed(0)) < present
    rows = [row for row, kept in zip(rows, there.tolist(), strict=True) if kept]
    x = torch.tensor(rows, dtype=torch.float32)
    return qs.tasks.arrays(x, [c for c, _, _ in rows], groups=[s for _, s, _ in rows], rule=rule).sampled(SIZE)


def parts(source: ClassSource, split: str = "train", count: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    """Support (T, n, 3) and query (T, m, 3) examples of tasks, and which queries exist."""
    episodes = source.episodes(split, torch.arange(count))
    assert isinstance(episodes.support.x, Tensor) and isinstance(episodes.query.x, Tensor)
    assert bool(episodes.support.mask.all())
    return episodes.support.x, episodes.query.x, episodes.query.mask


@pytest.mark.parametrize(
    "source",
    [
        spoken(4, 5),
        spoken(2, 4, own=True),
        spoken(30, 1, present=0.4),
        spoken(2, 3),
    ],
    ids=["few speakers", "two tracks of each class", "sparse", "only two speakers"],
)
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_no_group_is_on_both_sides_of_a_task(source: ClassSource, split: str) -> None:
    support, query, there = parts(source, split)
    for seen, asked, mask in zip(support, query, there, strict=True):
        assert not set(seen[:, 1].tolist()) & set(asked[mask][:, 1].tolist())
        given = [tuple(row) for row in torch.cat([seen, asked[mask]]).tolist()]
        assert len(set(given)) == len(given)  # no example is drawn twice
        assert (seen[:, 0].reshape(3, 2) == seen[::2, 0, None]).all() and len(set(seen[::2, 0].tolist())) == 3
        assert set(asked[mask][:, 0].tolist()) == set(seen[:, 0].tolist())  # every class is asked for
    assert there.float().mean() > 0.6


def test_every_group_comes_to_both_sides_in_time() -> None:
    support, query, there = parts(spoken(4, 5), count=300)
    assert set(support[..., 1].flatten().tolist()) == set(query[there][:, 1].tolist()) == {0, 1, 2, 3}


def test_tasks_within_one_group() -> None:
    source = spoken(6, 5, rule="within")
    support, query, there = parts(source)
    together = torch.cat([support[..., 1], query[..., 1]], dim=1)
    assert bool(there.all()) and (together == together[:, :1]).all() and len(set(together[:, 0].tolist())) == 6
    names = source.class_names("train", 3)
    assert [str(int(c)) for c in support[3, ::2, 0]] == names
    with pytest.raises(DataError, match=r"No group has 3 classes with 2 shots \+ 3 queries of its own"):
        parts(spoken(6, 4, rule="within"))


def test_episodes_are_a_function_of_their_number() -> None:
    source = spoken(7, 3)
    whole, few = source.episodes("test", torch.arange(40)), source.episodes("test", torch.tensor([31, 5]))
    assert isinstance(whole.query.x, Tensor) and isinstance(few.query.x, Tensor)
    assert torch.equal(whole.query.x[[31, 5]], few.query.x)


def test_unknown_groups_are_trained_on_and_not_tested_on() -> None:
    x, y = torch.randn(120, 4), [i % 12 for i in range(120)]
    groups: list[Any] = [i // 24 if i % 12 < 8 else None for i in range(120)]
    splits = {"train": [4, 5, 6, 7, 8, 9, 10, 11], "val": [0, 1], "test": [2, 3]}
    source = qs.tasks.arrays(x, y, groups=groups, splits=splits).sampled(qs.Sampling(2, 1, 2))
    source.episodes("train", torch.arange(20))
    source.check("test")
    wrong = qs.tasks.arrays(x, y, groups=groups, splits={"train": [0, 1, 2, 3], "val": [4, 5], "test": [10, 11]})
    with pytest.raises(DataError, match="'test' has records of which nobody knows the group, the first in .*'10'"):
        wrong.sampled(qs.Sampling(2, 1, 2)).check("test")


def test_a_class_of_one_group_cannot_be_split() -> None:
    source = qs.tasks.arrays(
        torch.randn(60, 2), [i % 6 for i in range(60)], groups=[i % 6 for i in range(60)], val=0, test=0
    )
    uneven = spoken(2, 3, own=True).sampled(qs.Sampling(ways=2, shots=5, queries=1))
    with pytest.raises(DataError, match="has groups of 3, 3 examples: of these no choice gives 5 shots and leaves"):
        uneven.check("train")
    with pytest.raises(DataError, match="All examples of the class '0' .* are of one group"):
        source.sampled(SIZE).check("train")
    with pytest.raises(ConfigError, match="'apart' or 'within', found 'near'"):
        qs.tasks.arrays(torch.randn(60, 2), [i % 6 for i in range(60)], groups=[1] * 60, rule="near")  # type: ignore[arg-type]


def test_a_pattern_in_the_names_of_files_says_the_group(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for c in range(6):
        for track in range(3):
            for i in range(3):
                path = tmp_path / f"class{c}" / f"track{track + 10 * c}_{i}.png"
                path.parent.mkdir(exist_ok=True)
                Image.effect_noise((8, 8), 90).save(path)
    options: dict[str, Any] = {"root": str(tmp_path), "size": 8, "channels": 1}
    source = folder(**options, group="track([0-9]+)_").sampled(qs.Sampling(2, 1, 2))
    assert isinstance(source, ClassSource) and source.records is not None
    assert source.records.names[:4] == ("0", "1", "2", "10") and source.records.count == 18
    source.episodes("test", torch.arange(5))
    (tmp_path / "class5" / "other.png").write_bytes((tmp_path / "class5" / "track50_0.png").read_bytes())
    with caplog.at_level(logging.INFO, "quickstudy"):
        folder(**options, group="track([0-9]+)_")
    assert "The groups of 1 of 55 records are not known" in caplog.text and "other.png" in caplog.text
    with pytest.raises(ConfigError, match=r"'track\(' is no regular expression"):
        folder(**options, group="track(")


def test_a_column_of_groups_that_one_split_alone_has(tmp_path: Path) -> None:
    """Records of the others are of unknown groups, which is refused where they are tested on."""
    pytest.importorskip("tokenizers")
    for split, classes, column in (("train", "abcdef", True), ("test", "ghij", False)):
        rows = [f"{c} {i} said,{c}" + f",{i % 3}" * column for c in classes for i in range(6)]
        (tmp_path / f"{split}.csv").write_text("\n".join(["text,label" + ",who" * column, *rows]) + "\n")
    options = ("group", "who", "vocabulary", "300")
    source = sources.make("records", root=str(tmp_path), format="text", options=options)
    with pytest.raises(DataError, match="'test' has records of which nobody knows the group"):
        source.sampled(qs.Sampling(2, 1, 2)).check("test")
    source.sampled(qs.Sampling(2, 1, 2)).check("train")
