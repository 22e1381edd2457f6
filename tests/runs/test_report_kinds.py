"""Reports of every kind of task: what is drawn, and that no word is wrong for it."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from small_runs import blobs, linear_run
from torch import Tensor, nn

from quickstudy import tasks
from quickstudy.episode import Examples, Features
from quickstudy.errors import ConfigError
from quickstudy.formats import Drawing, Format, Leaf, Picture, Stored, Text
from quickstudy.formats.records import Broken
from quickstudy.pages.pictures import rendered
from quickstudy.recipes import lines_lstm, sinusoid_incontext
from quickstudy.registry import formats, learners, models, sources, targets
from quickstudy.report import AdaptedTask, report
from quickstudy.runs.run import Run
from quickstudy.runs.train import train
from quickstudy.targets import Metric, NumberAnswer, Target
from quickstudy.targets.distribution import Distribution

_SHORT: dict[str, Any] = {
    "iterations": 2,
    "validate_every": 2,
    "validation_episodes": 4,
    "device": "cpu",
    "log_every": 1,
}


def page_of(run: Run, **more: Any) -> str:
    return report(run, episodes=4, curve_episodes=3, **more).read_text()


def numbers_of(run: Run) -> dict[str, Any]:
    numbers: dict[str, Any] = json.loads((run.folder / "report.json").read_text())
    return numbers


def section(page: str, title: str) -> str:
    return page.split(f"<h2>{title}</h2>")[1].split("<h2>")[0]


def machines(units: str = "kW") -> tasks.TableSource:
    """Linear functions of three columns, one a machine."""
    generator = torch.Generator().manual_seed(0)
    data = {}
    for index in range(8):
        x = torch.randn(30, 3, generator=generator)
        data[f"machine {index}"] = (x, 100 + x @ torch.randn(3, generator=generator))
    return tasks.tables(data, units=units, val=0.25, test=0.25)


def test_a_series_is_drawn_as_a_whole(tmp_path: Path) -> None:
    run = train(replace(lines_lstm(), **_SHORT, checkpoint_every=2), out=tmp_path / "run", quiet=True)
    page = page_of(run)
    drawn = section(page, "What it does")
    assert "points of a series it has never seen" in page and ">time<" in drawn
    assert drawn.count("<figure>") == 4 and "from the true values before it" in drawn
    for word in ("before", "after", "truth", "given"):
        assert word in drawn
    assert not re.search(r"curve it has|classes|correct|guessing|function it", page.split("<details>")[0])
    assert numbers_of(run)["by_ways"] == [] and "confusion" not in numbers_of(run)


def test_numbers_of_rows_are_listed_beside_the_answers(tmp_path: Path) -> None:
    source = machines()
    config = linear_run(shots=5, queries=4, **_SHORT, learner=learners.part("maml", lr=0.01, steps=1))
    run = train(config, source=source, out=tmp_path / "run", quiet=True)
    page = page_of(run)
    drawn = section(page, "What it does")
    assert "5 rows of a table it has never seen" in page and "label (kW)" in drawn
    assert not re.search(r"points|curve|classes|correct", drawn)
    first = source.sampled(run.config.sampling).episodes("test", torch.tensor([0]))
    assert f"{float(first.support.y[0, 0, 0]):.3g}" in drawn and f"{float(first.query.y[0, 0, 0]):.3g}" in drawn
    both = source.sampled(run.config.sampling).episodes("test", torch.arange(2))
    constant = (both.query.y - both.support.y.mean(1, keepdim=True)).square().mean()
    measured = run.evaluate(episodes=2).baseline
    assert measured is not None and measured.mean == pytest.approx(float(constant), rel=1e-4)
    assert "always the mean" in page


def test_an_adapted_task_of_numbers_is_judged_in_the_users_units(tmp_path: Path) -> None:
    source = machines()
    run = train(linear_run(shots=5, queries=4, **_SHORT), source=source, out=tmp_path / "run", quiet=True)
    given, asked = source.x[:5], source.x[5:9]
    model = run.adapt(given, source.y[:5])
    task = AdaptedTask(
        model=model, support=given, support_labels=source.y[:5, 0].tolist(), query=asked,
        labels=source.y[5:9, 0].tolist(), answer=model.predict(asked), milliseconds=1.0,
    )  # fmt: skip
    error = (task.answer.prediction - source.y[5:9]).square().mean()
    assert task.value == pytest.approx(float(error))
    assert task.baseline == pytest.approx(float((source.y[5:9] - source.y[:5].mean()).square().mean()))
    shown = section(page_of(run, adapted=task), task.title)
    assert "5 rows." in shown and task.answer.told(0) in shown and "classes" not in shown


def test_a_learner_that_says_how_sure_it_is_has_a_band(tmp_path: Path) -> None:
    config = replace(
        sinusoid_incontext(), **_SHORT, queries=8, train_queries=4, meta_batch=2, schedule="none", schedule_options={},
        learner=learners.part("incontext", width=16, layers=1), model=models.part("mlp", width=8, depth=1),
    )  # fmt: skip
    run = train(config, out=tmp_path / "run", quiet=True)
    page = page_of(run)
    assert "95 % of the truth lies in the band" in page.replace("\u00a0", " ")
    assert "5 points of a function it has never seen" in page
    assert len(numbers_of(run)["calibration"]["within"]) == 19 and "How sure it is" in page
    assert "before" not in section(page, "What it does"), "it takes no inner steps"


def test_rows_of_classes_are_listed_and_frequent_classes_are_what_is_guessed(tmp_path: Path) -> None:
    config = linear_run(
        tasks=sources.part("structural", columns=12), model=models.part("mlp", width=8), ways=3, shots=12, queries=8,
        learner=learners.part("protonet"), **_SHORT,
    )  # fmt: skip
    run = train(config, out=tmp_path / "run", quiet=True)
    page = page_of(run)
    assert "12 rows of up to 3 classes" in page and "of each" not in page
    assert "4 of 12 given" in page and "…" in section(page, "What it does")
    numbers = numbers_of(run)
    assert numbers["headline"]["trained"]["baseline"]["mean"] > 1 / 3 + 0.02, "classes are not equally frequent"
    assert [r["shots"] for r in numbers["by_shots"]] == [3, 6, 9, 12, 15, 30] and "confusion" not in numbers
    assert [r["ways"] for r in numbers["by_ways"]] == [2, 3, 5, 10, 20]


def test_arrays_are_small_curves_framed_by_class(tmp_path: Path) -> None:
    config = linear_run(learner=learners.part("protonet"), ways=3, shots=2, **_SHORT)
    page = page_of(train(config, source=blobs(features=12), out=tmp_path / "run", quiet=True))
    assert section(page, "What it does").count('class="spark"') == 4 * 3 * (2 + 4)
    assert "image" not in page.split("<details>")[0].split("</style>")[1].replace("data:image", "")


@dataclass(frozen=True)
class Stars(Drawing):
    """So many stars."""

    count: int


@dataclass(frozen=True, kw_only=True)
class Notes(Format):
    """Words of two lengths, in two tensors."""

    what = "notes"

    @property
    def example(self) -> str:
        return "note"

    @property
    def layout(self) -> dict[str, Leaf]:
        return {"first": Leaf((2,)), "second": Leaf((3,))}

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        return Stored(records, list(range(len(records["first"]))), [])

    def draw(self, x: Features) -> Drawing | None:
        assert isinstance(x, dict)
        return Text(f"<{len(x['first'])} & {len(x['second'])}> {float(x['first'][0]):.3f}")


@dataclass(frozen=True, kw_only=True)
class Signs(Target):
    """Whether a number is above 0."""

    metric = Metric("agreement", "agreement", "agreement of signs", True, percent=True, short="agreed")
    guess = "the usual sign"
    outputs = 1
    shape = (1,)

    def __str__(self) -> str:
        return "a sign"

    def check(self, y: Tensor, name: str, lead: int) -> None:
        return None

    def encode(self, labels: Any) -> tuple[Tensor, tuple[str, ...]]:
        return torch.as_tensor(labels, dtype=torch.float32).reshape(-1, 1), ()

    def losses(self, prediction: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
        return (prediction - y).square()[:, 0]

    def scores(self, prediction: Tensor, y: Tensor) -> Tensor:
        return ((prediction > 0) == (y > 0)).to(prediction.dtype)[:, 0]

    def coded(self, examples: Examples, dtype: torch.dtype) -> Tensor:
        return examples.y.to(dtype) * examples.mask[:, None]

    def baseline(self, support: Examples, query: Examples) -> Tensor:
        return support.y.sum().sign().expand_as(query.y)

    def told(self, y: Tensor, names: Any) -> list[str]:
        return ["above" if one > 0 else "below" for one in y[:, 0].tolist()]

    def answer(self, said: Distribution, names: Any, units: Any = None) -> NumberAnswer:
        return NumberAnswer(said.mean)

    def lead(self, given: str, example: str, whole: str, each: bool) -> str:
        return f"Shown {given}, this network says on which side of zero a {example} lies."


class Weighed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(5, 1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.out(torch.cat([first, second], dim=-1))  # type: ignore[no-any-return]


def test_a_format_and_a_target_of_ones_own_are_drawn_and_worded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for registry, name, part in ((formats, "notes", Notes), (targets, "signs", Signs)):
        monkeypatch.setattr(registry, "_entries", dict(registry._load()))
        registry.register(name)(part)  # type: ignore[attr-defined]
    generator = torch.Generator().manual_seed(0)
    data = {}
    for index in range(8):
        x = {"first": torch.randn(20, 2, generator=generator), "second": torch.randn(20, 3, generator=generator)}
        data[f"book {index}"] = (x, x["first"][:, 0].tolist())
    source = tasks.tables(data, format=Notes(), target=Signs(), val=0.25, test=0.25)
    run = train(
        linear_run(shots=5, queries=6, **_SHORT), source=source, module=Weighed(), out=tmp_path / "run", quiet=True
    )
    page = page_of(run)
    assert "Shown 5 notes, this network says on which side of zero a note lies." in page
    drawn = section(page, "What it does")
    assert drawn.count("&lt;2 &amp; 3&gt;") == 4 * (4 + 6) and "above" in drawn and "below" in drawn
    assert re.search(r"<span>\d+ % agreed</span>", drawn)
    assert "agreed on new tasks" in page and "the usual sign" in page and "agreement of signs (%)" in page
    blind = run.evaluate(episodes=4).baseline
    assert blind is not None and 0 <= blind.mean <= 1 and f"{100 * blind.mean:.1f} %" in page


def test_a_drawing_of_ones_own_is_registered_or_refused() -> None:
    with pytest.raises(ConfigError, match="no way to show a Stars"):
        rendered(Stars(3), "three")
    rendered.register(Stars)(lambda drawing, description: f"<b>{'*' * drawing.count}</b>")
    assert rendered(Stars(3), "three") == "<b>***</b>"


def test_a_spectrogram_of_seconds_is_narrowed_and_not_flattened() -> None:
    """Drawn 598 wide and 40 high it would be a line of 4 pixels in a picture of 64."""
    for width, size, kind in ((598, (120, 40), "px wide"), (98, (64, 26), "px")):
        shown = rendered(Picture(torch.zeros(1, 40, width, dtype=torch.uint8)), "a word")
        data = re.search(r"base64,([^\"]+)", shown)
        assert data is not None and f'class="{kind}"' in shown
        assert Image.open(io.BytesIO(base64.b64decode(data[1]))).size == size
