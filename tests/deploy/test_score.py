"""What a model is told by on labelled records agrees with what one counts by hand, for every target."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from mask_files import drawing
from test_model import CLASSES, NUMBERS, learned
from torch import Tensor

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.deploy.adapt import Given, adapt
from quickstudy.deploy.labelled import Labelled
from quickstudy.deploy.scored import Reliability, Share
from quickstudy.deploy.scoring import scored
from quickstudy.episode import Examples
from quickstudy.errors import DataError, ShapeError
from quickstudy.evaluation.estimate import jackknifed, wilson
from quickstudy.formats.records import Stored
from quickstudy.registry import formats, learners, models, targets
from quickstudy.spec import TaskSpec
from quickstudy.targets.answers.base import Answer
from quickstudy.targets.distribution import Distribution
from quickstudy.training.learner import build_learner

PLANE = formats.make("array", shape=(4,))
CENTRES = 1.2 * torch.randn(6, 4, generator=torch.Generator().manual_seed(3))


def clusters(classes: int, each: int, seed: int = 0) -> tuple[Tensor, list[str]]:
    """Points of the first classes, called a, b, c, …"""
    y = torch.arange(classes).repeat_interleave(each)
    noise = torch.randn(len(y), 4, generator=torch.Generator().manual_seed(seed))
    return CENTRES[y] + noise, ["abcdef"[i] for i in y.tolist()]


@pytest.fixture(scope="module")
def model() -> Any:
    return learned("protonet", TaskSpec(PLANE, CLASSES), *clusters(3, 5))


def test_figures_of_classes_are_what_one_counts(model: Any) -> None:
    x, labels = clusters(3, 120, 1)  # more than one batch
    scored, said = model.score(x, labels), model.predict(x)
    right = [name == label for name, label in zip(said.names, labels, strict=True)]
    assert scored.value == pytest.approx(sum(right) / 360) and scored.count == 360
    assert scored.figures[0].share[1:] == pytest.approx(wilson(sum(right), 360))
    for one in scored.hits:
        mine = [name == label for name, label in zip(said.names, labels, strict=True) if label == one.name]
        assert (one.true, one.both) == (120, sum(mine)) and one.recall == pytest.approx(sum(mine) / 120)
        assert one.said == said.names.count(one.name) and one.precision == pytest.approx(sum(mine) / one.said)
    assert sum(map(sum, scored.confusion)) == 360 and scored.confusion[1][1] == scored.hits[1].both
    assert scored.confusion[0][2] == sum(n == "c" for n, y in zip(said.names, labels, strict=True) if y == "a")
    losses = -said.probabilities[torch.arange(360), ["abc".index(y) for y in labels]].log()
    assert {j.figure.name: j.share.value for j in scored.figures}["log loss"] == pytest.approx(float(losses.mean()))
    assert scored.figures[0].blind == pytest.approx(1 / 3) and "guessing 33.3 %" in str(scored)
    table = scored.table()
    assert table["label"] == labels and table["class"] == said.names and [v == 1 for v in table["correct"]] == right


def test_a_figure_that_depends_on_no_record_has_no_interval(model: Any) -> None:
    """Where all are right, leaving some out changes nothing, which is not that the figure is certain."""
    far = CENTRES[torch.arange(3).repeat_interleave(10)]
    accuracy, recall, loss = model.score(far, ["abc"[i] for i in torch.arange(3).repeat_interleave(10)]).figures
    assert accuracy.share[1:] == pytest.approx(wilson(30, 30)) and accuracy.share.low < 0.9
    assert recall.share.value == 1 and recall.between == ""
    assert loss.share.low < loss.share.value < loss.share.high


def test_classes_that_the_model_was_not_shown_count_apart(model: Any) -> None:
    x, labels = clusters(5, 20, 1)
    scored, known = model.score(x, labels), model.score(x[:60], labels[:60])
    assert scored.unknown == {"d": 20, "e": 20} and scored.count == 60 and len(scored.rows) == 100
    assert scored.value == known.value and scored.confusion == known.confusion
    assert "d (20)" in scored.warning and not known.warning
    assert scored.rows[-1][:2] == ("e", None) and scored.rows[-1][2] in "abc"
    with pytest.raises(DataError, match=r"shown nothing .* d, e"):
        model.score(x[60:], labels[60:])


def test_probabilities_that_are_true_have_no_calibration_error() -> None:
    generator = torch.Generator().manual_seed(0)
    said = torch.rand(200_000, generator=generator)
    honest = Reliability.of(said, torch.rand(len(said), generator=generator) < said)
    assert honest.error < 0.01 and len(honest.bins) == 10
    assert sum(bin.right.low <= bin.said <= bin.right.high for bin in honest.bins) >= 8
    sure = Reliability.of(torch.full((1000,), 0.9), torch.arange(1000) < 600)
    assert sure.error == pytest.approx(0.3, abs=1e-6) and [bin.n for bin in sure.bins] == [1000]


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    generator = torch.Generator().manual_seed(0)
    right = (torch.rand(4000, 40, generator=generator) < 0.9).sum(1).tolist()
    assert 0.93 < sum(Share.of(k, 40).low <= 0.9 <= Share.of(k, 40).high for k in right) / 4000 < 0.98
    draws = torch.randn(2000, 20, 5, generator=generator, dtype=torch.float64)  # the mean of 20 groups of 5
    held = 0
    for one in draws:
        means = [float(torch.cat([one[:g], one[g + 1 :]]).mean()) for g in range(20)]
        low, high = jackknifed(float(one.mean()), means)
        held += low <= 0 <= high
    assert 0.935 < held / 2000 < 0.965
    assert all(wilson(k, n)[0] <= k / n <= wilson(k, n)[1] for n in range(1, 60) for k in range(n + 1))
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4) and wilson(0, 0) == (0.0, 1.0)
    assert jackknifed(1.0, [1.0]) == (-math.inf, math.inf)


def test_figures_of_numbers_are_in_the_users_units() -> None:
    spec = TaskSpec(formats.make("array", shape=(1,)), NUMBERS)
    x = torch.linspace(-2, 2, 60)[:, None]
    y = 3 * x[:, 0] + 1
    model = learned("maml", spec, x[::6], y[::6], lr=0.05, steps=5)
    scored, said = model.score(x, y), model.predict(x).values[:, 0]
    found = {one.figure.name: one for one in scored.figures}
    error = (said - y).square().mean()
    assert found["mse"].share.value == pytest.approx(float(error), rel=1e-5)
    assert found["RMSE"].share.value == pytest.approx(float(error.sqrt()), rel=1e-5)
    assert found["RMSE"].figure.show(2.5) == "2.5 °C" and found["mse"].figure.units == "°C²"
    assert found["R²"].share.value == pytest.approx(1 - float(error / y.var(correction=0)), rel=1e-4)
    assert found["R²"].blind == pytest.approx(0, abs=1e-6), "the mean tells nothing of the variance"
    assert found["RMSE"].share.low <= found["RMSE"].share.value <= found["RMSE"].share.high
    alike = {one.figure.name: one for one in model.score(x[:5], torch.ones(5)).figures}
    assert math.isnan(alike["R²"].share.value) and model.score(x[:5], torch.ones(5)).to_json()


def test_intervals_of_numbers_are_held_against_the_labels() -> None:
    spec = TaskSpec(formats.make("array", shape=(1,)), NUMBERS)
    x, y = torch.randn(400, 1, generator=torch.Generator().manual_seed(0)), torch.zeros(400)
    model = learned("incontext", spec, x[:5], torch.randn(5, generator=torch.Generator().manual_seed(1)))
    said = model.predict(x)
    y = said.values[:, 0] + said.spread[:, 0] * torch.randn(400, generator=torch.Generator().manual_seed(2))
    promises = {one.level: one for one in model.score(x, y).promises}
    assert set(promises) == {0.5, 0.9, 0.95}
    for level, one in promises.items():
        assert one.found.low <= level <= one.found.high
    assert promises[0.95].size == pytest.approx(2 * 1.96 * float(said.spread.mean()), rel=1e-3)


def test_a_forecast_is_of_the_last_values() -> None:
    spec = TaskSpec(formats.make("series", window=4), NUMBERS)
    values = [20 + math.sin(i / 2) for i in range(30)]
    model = learned("maml", spec, values[:20], model="lstm", lr=0.01, steps=2)
    scored, said = model.score(values, steps=4), model.predict(values[:26], steps=4)
    error = (said.values.flatten() - torch.tensor(values[26:])).square().mean()
    assert scored.value == pytest.approx(float(error), rel=1e-4) and scored.count == 4
    assert [row[0] for row in scored.rows] == pytest.approx(values[26:], rel=1e-6)
    naive = sum((values[25] - v) ** 2 for v in values[26:]) / 4
    assert scored.figures[0].blind == pytest.approx(naive, rel=1e-4) and scored.blind == "the last value again"
    assert not scored.figures[0].between, "errors of one forecast depend on each other"
    with pytest.raises(DataError, match="6 are the fewest"):
        model.score(values[:5], steps=4)
    with pytest.raises(DataError, match="own labels"):
        model.score(values, values)


def test_figures_of_tags() -> None:
    spec = TaskSpec(PLANE, targets.make("tags", names=("hot", "wet")))
    x, _ = clusters(4, 5)
    labels = ["hot"] * 5 + ["wet"] * 5 + ["hot;wet"] * 5 + [";"] * 5
    model = learned("r2d2", spec, x, labels)
    scored, said = model.score(x, labels), [{name for name, _ in one} for one in model.predict(x)]
    hot = next(one for one in scored.hits if one.name == "hot")
    assert hot.true == 10 and hot.said == sum("hot" in one for one in said)
    assert hot.both == sum("hot" in one and "hot" in label for one, label in zip(said, labels, strict=True))
    assert scored.reliability is not None and not scored.confusion
    odd = model.score(x, ["cold", *labels[1:]])
    assert odd.unknown == {"cold": 1} and odd.count == 19


def test_figures_of_masks_are_of_pixels() -> None:
    spec = TaskSpec(formats.make("image", size=8, channels=3), targets.make("masks", size=8, ways=2))
    images, masks = zip(*(drawing(i, 200) for i in range(6)), strict=True)
    images = [image.astype("uint8").transpose(2, 0, 1) for image in images]
    config = qs.RunConfig(name="m", model=models.part("unet", width=4, depth=1), learner=learners.part("r2d2"))
    built = build_learner(config, spec)
    params = built.init(torch.Generator().manual_seed(0))
    model = adapt(config, built, params, Given(records=list(images), labels=list(masks)))
    scored, said = model.score(list(images), list(masks)), model.predict(list(images)).masks
    truth = torch.stack([torch.as_tensor(mask) for mask in masks])
    one = scored.hits[1]
    assert one.true == int(truth.sum()) and one.both == int((said.bool() & truth.bool()).sum())
    assert scored.value == pytest.approx(one.iou, rel=1e-5)
    strange = model.score(list(images), [*masks[:5], 7 * masks[5]])
    assert strange.unknown == {"7": 1} and strange.count == 5


@pytest.mark.parametrize(
    ("records", "labels", "message"),
    [
        (torch.zeros(3, 4), None, "true label"),
        (torch.zeros(3, 4), ["a", "b"], "3 arrays but 2 labels"),
        (torch.zeros(0, 4), [], "no arrays to measure"),
        (torch.zeros(2, 5), ["a", "b"], "axis 1"),
        (torch.zeros(2, 4), ["a", None], "no label"),
    ],
)
def test_what_cannot_be_measured_is_refused(model: Any, records: Tensor, labels: Any, message: str) -> None:
    with pytest.raises((DataError, ShapeError), match=message):
        model.score(records, labels)


def test_the_command_writes_what_it_says(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [f"c{i}" for i in range(4)]
    table = formats.make("table", columns=4, names=tuple(names))
    learned("protonet", TaskSpec(table, CLASSES), *clusters(3, 5)).save("m")
    x, labels = clusters(4, 10, 1)
    for name, rows in (("one.csv", range(25)), ("two.csv", range(25, 40))):
        lines = [
            ",".join([*map(str, x[i].tolist()), f"<{labels[i]}>" if labels[i] == "d" else labels[i]]) for i in rows
        ]
        Path(name).write_text("\n".join([",".join([*names, "label"]), *lines]))
    arguments = ["--out", "s.json", "--predictions", "p.csv", "--report", "page.html"]
    assert main(["score", "m", "one.csv", "two.csv", *arguments]) == 0
    told = capsys.readouterr().out
    assert "On 30 labelled rows" in told and "<d> (10)" in told
    figures = json.loads(Path("s.json").read_text())
    with open("p.csv") as file:
        rows = list(csv.DictReader(file))
    right = [row for row in rows if row["label"] == row["class"]]
    assert len(rows) == 40 and figures["figures"]["accuracy"]["value"] == pytest.approx(len(right) / 30)
    assert figures["count"] == 30 and figures["unknown"] == {"<d>": 10}
    page = Path("page.html").read_text()
    assert "<d>" not in page and "&lt;d&gt;" in page and 'class="matrix"' in page
    Path("mistaken.csv").write_text(Path("one.csv").read_text().replace(",a\n", ",b\n"))
    assert main(["score", "m", "mistaken.csv", "--report", "wrong.html"]) == 0
    assert "<small>mistaken.csv, line 2</small>" in Path("wrong.html").read_text(), "a mistake is found by its place"
    capsys.readouterr()
    assert main(["score", "m", "one.csv", "--out", "one.csv"]) == 2 and "would be lost" in capsys.readouterr().err
    assert Path("one.csv").read_text().startswith("c0,")
    assert main(["score", "m"]) == 2 and "No labelled" in capsys.readouterr().err
    assert main(["score", "m", "one.csv", "--out", "q", "--report", "q"]) == 2
    assert main(["score", "m", "one.csv", "--steps", "3"]) == 2 and "steps" in capsys.readouterr().err


def test_figures_of_texts_are_rates_of_errors() -> None:
    target = targets.make("sequence", tokens=("a", "b", " "), longest=6, positions=9)
    spec = TaskSpec(PLANE, target)
    said = ["ab a", "b", "aab", "b a"]
    logits = torch.full((4, 9, 4), -9.0)
    for row, text in enumerate(said):
        path = [0, *(1 + target.tokens.index(c) for c in text)] if "aa" not in text else [1, 0, 1, 2]
        logits[row, torch.arange(9), torch.tensor([*path, *[0] * (9 - len(path))])] = 9.0

    def answer(stored: Stored) -> Answer:
        return target.answer(Distribution(logits[: len(stored.kept)]), ())

    truth = ["ab b", "b", "aab", "a c"]  # one of four characters is wrong, and one of two words; c is no token
    found = scored(spec, (), answer, Labelled.of(spec, torch.zeros(4, 4), truth))
    figures = {one.figure.name: one.share.value for one in found.figures}
    assert figures["error rate"] == pytest.approx(1 / 8) and figures["word error rate"] == pytest.approx(1 / 4)
    assert found.unknown == {"c": 1} and found.count == 3
    assert [row[2] for row in found.rows] == said and found.rows[0][0] == "ab b"


@pytest.mark.parametrize("name", [name for name in targets if targets[name].__name__ != "Actions"])
def test_every_target_tells_figures_of_what_it_says_right(name: str) -> None:
    """The best there is, of every target: nothing is better, and no interval leaves it out."""
    options = {
        "masks": {"size": 4, "ways": 2}, "tags": {"names": ("p", "q")}, "classes": {"ways": 2},
        "sequence": {"tokens": ("a", "b"), "longest": 2, "positions": 4},
    }.get(name, {})  # fmt: skip
    target = targets.make(name, **options)
    labels: Any = {
        "masks": torch.arange(16).view(1, 4, 4).repeat(6, 1, 1) % 2, "tags": ["p", "q", "p;q"] * 2,
        "classes": ["a", "b"] * 3, "sequence": ["a", "b", "ab"] * 2, "numbers": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
    }.get(name)  # fmt: skip
    y, _ = target.encode(labels)
    examples = Examples(torch.zeros(6, 0), y, torch.ones(6, dtype=torch.bool))
    coded = 40 * target.coded(examples, torch.float32).reshape(6, *target.prediction_shape)
    best = {"numbers": y, "tags": 40 * (y - 0.5)}.get(name, coded)
    for figure in target.reported(best, examples):
        value = float(figure.value)
        assert value == pytest.approx(figure.most if figure.higher else 0.0, abs=1e-4), figure
        assert figure.within(value) == pytest.approx(value, abs=1e-6)
    for one in target.hits(best, examples, ["x", "y"]):
        assert one.recall == one.precision == one.iou == 1.0
    claimed = target.claims(best, examples)
    assert claimed is None or bool(((claimed[0] > 0.5) == claimed[1]).all())
