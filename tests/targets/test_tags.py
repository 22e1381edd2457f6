"""Several labels at once: figures by hand, what is refused, and a run from a CSV file to an answer."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy.episode import Examples
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.formats.records import Placed
from quickstudy.registry import learners, sources
from quickstudy.targets.tags import Tags, average_precision

SEEN = Tags(names=("old", "red", "round"))


def examples(y: list[list[float]], mask: list[bool] | None = None) -> Examples:
    labels = torch.tensor(y)
    return Examples(torch.zeros(len(y), 1), labels, torch.tensor(mask) if mask else torch.ones(len(y)).bool())


def test_labels_are_lists_texts_or_arrays() -> None:
    wanted = torch.tensor([[0.0, 1, 1], [0, 0, 0], [1, 0, 1]])
    for labels in (
        [["red", "round"], [], {"round", "old"}],
        ["round;red", "", " old ; round "],
        wanted,
        wanted.numpy(),
    ):
        assert torch.equal(SEEN.encode(labels)[0], wanted)
        assert Tags().learn(labels).names in (SEEN.names, ("tag 1", "tag 2", "tag 3"))
    assert SEEN.told(wanted, ()) == ["red; round", "no tag", "old; round"]
    assert SEEN.fits(Tags(names=SEEN.names)) and not SEEN.fits(Tags(names=("red", "old", "round")))


def test_what_is_no_label_is_named() -> None:
    for label, match in ((None, "Example 1 has no tags"), (float("nan"), "Example 1"), (["blue"], "'blue'"), (3, "3")):
        with pytest.raises(DataError, match=match):
            SEEN.encode([["red"], label])
    with pytest.raises(ConfigError, match="No tag is known"):
        Tags().encode([["red"]])
    with pytest.raises(ConfigError, match="each named once"):
        Tags(names=("red", "red"))
    with pytest.raises(DataError, match="0 and 1"):
        SEEN.check(torch.full((2, 3), 0.5), "y", 1)
    with pytest.raises(ShapeError, match="3 tags"):
        SEEN.check(torch.zeros(2, 4), "y", 1)


def test_figures_are_those_of_the_definition() -> None:
    prediction = torch.tensor([[2.0, -1.0, 0.5], [-1.0, -2.0, -3.0], [1.0, 3.0, 1.0]])
    given = examples([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    assert SEEN.scores(prediction, given.y).tolist() == pytest.approx([2 / 4, 1.0, 4 / 5])
    one = [math.log(1 + math.exp(-2)), math.log(1 + math.exp(1)), math.log(1 + math.exp(0.5))]
    assert float(SEEN.losses(prediction, given.y)[0]) == pytest.approx(sum(one) / 3)
    assert float(SEEN.losses(prediction, given.y, 0.2)[0]) > float(SEEN.losses(prediction, given.y)[0]) - 1


def test_average_precision_against_a_count_by_hand() -> None:
    generator = np.random.default_rng(0)
    scores, y = generator.normal(size=(30, 3)), (generator.random((30, 3)) < 0.3).astype(float)
    y[:, 2] = 0
    mask = generator.random(30) < 0.8
    each = []
    for tag in (0, 1):
        rows = sorted((r for r in range(30) if mask[r]), key=lambda r: -scores[r, tag])
        found = [(k + 1, rows[k]) for k in range(len(rows)) if y[rows[k], tag]]
        each.append(sum((i + 1) / rank for i, (rank, _) in enumerate(found)) / len(found))
    given = Examples(torch.zeros(30, 1), torch.tensor(y), torch.tensor(mask))
    assert float(average_precision(torch.tensor(scores), given)) == pytest.approx(sum(each) / 2)
    none = given._replace(y=torch.zeros(30, 3).double())
    assert float(average_precision(torch.tensor(scores), none)) == 0.0


def test_guessing_is_by_the_shares_of_the_support_set() -> None:
    support = examples([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]], [True, True, False])
    said = SEEN.baseline(support, examples([[0.0, 0.0, 0.0]])).sigmoid()
    assert said[0].tolist() == pytest.approx([2.5 / 3, 1.5 / 3, 0.5 / 3])


@pytest.mark.parametrize("learner", ["r2d2", "maml"])
def test_from_a_file_of_rows_to_tags_with_probabilities(learner: str, tmp_path: Path) -> None:
    """Each task has a direction of its own for each tag; a row has those tags along whose directions it lies."""
    generator, lines = np.random.default_rng(1), ["a,b,c,task,tags"]
    for task in range(12):
        directions = generator.normal(size=(2, 3))
        for x in generator.normal(size=(30, 3)):
            tags = [name for name, d in zip(("hot", "wet"), directions, strict=True) if x @ d > 0]
            lines.append(",".join([*(f"{v:.4f}" for v in x), f"t{task}", ";".join(tags) or ";"]))
    (path := tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    tasks = sources.part("table_csv", path=str(path), label="tags", group="task", target="tags")
    config = qs.RunConfig(
        name="t", tasks=tasks, learner=learners.part(learner), shots=20, queries=10, iterations=3, device="cpu",
        validation_episodes=2,
    )  # fmt: skip
    module = nn.Linear(3, 3 if learner == "r2d2" else 2)
    run = qs.train(config, module=module, out=tmp_path / "run", quiet=True)
    assert run.spec.target == Tags(names=("hot", "wet"))
    result = run.evaluate(episodes=20)
    assert result.baseline is not None
    if learner == "r2d2":
        assert result.mean > result.baseline.mean + 0.1
    drawn = run.parts.source.episodes("test", torch.arange(20))
    said = run.parts.engine.predictions(run.params, drawn)
    of_each = [average_precision(p, Examples(*(part[i] for part in drawn.query))) for i, p in enumerate(said)]
    known = torch.stack(of_each).double()
    known = known[~known.isnan()]
    found = result.further["mAP"]
    assert (found.mean, found.count) == (pytest.approx(float(known.mean())), len(known))
    assert result.also()["mAP"] == result.figure.interval(found.mean, found.ci95)
    assert qs.Result.from_json(json.loads(json.dumps(result.to_json()))) == result
    x = torch.randn(12, 3)
    model = run.adapt(x, ["hot" if one > 0 else "" for one in x[:, 0].tolist()])
    answer = model.predict(torch.tensor([[3.0, 0.0, 0.0], [-3.0, 0.0, 0.0]]))
    assert answer.columns == ("tags", "p(hot)", "p(wet)") and len(answer.rows()) == 2
    if learner == "r2d2":
        assert [name for name, _ in answer[0]] == ["hot"] and answer[1] == [] and answer.told(1) == "no tag"
    with pytest.raises(DataError, match="'cold'"):
        run.adapt(x, ["cold"] * 12)


def test_commas_in_names_are_said(caplog: pytest.LogCaptureFixture) -> None:
    assert Tags().learn(["dog, ball", "cat"]).names == ("cat", "dog, ball")
    assert "1 of 2 tags have a comma" in caplog.text and "'dog; ball'" in caplog.text
    caplog.clear()
    Tags().learn(["dog; ball", "cat"])
    assert not caplog.text


def test_labels_of_a_file_are_named_by_their_line() -> None:
    with pytest.raises(DataError, match=r"^t\.csv, line 4 has the tag 'blue', which is none of"):
        SEEN.encode([Placed("red", "t.csv, line 3"), Placed("blue", "t.csv, line 4")])
