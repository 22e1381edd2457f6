"""Formats and targets of users that are unlike ours: what they say is what happens, in training and in use alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.deploy.adapt import Given, adapt
from quickstudy.deploy.support import support_set
from quickstudy.episode import Episode, Features, State, leaves
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.formats.base import Format
from quickstudy.formats.drawing import Drawing, Text
from quickstudy.formats.layout import Leaf
from quickstudy.formats.records import Broken, Stored, all_kept
from quickstudy.learners import Network
from quickstudy.registry import formats, learners, models, sources, targets
from quickstudy.spec import TaskSpec
from quickstudy.targets.classes import Classes
from quickstudy.targets.metric import Metric, announce
from quickstudy.tasks import arrays, tables
from quickstudy.tasks.base import Sampling, Source
from quickstudy.training.learner import build_learner


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests register is known to them alone."""
    for registry in (formats, targets):
        registry._load()
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))


@dataclass(frozen=True, kw_only=True)
class Standardised(Format):
    """Rows less the mean of the task's support set, in units of its spread: called as a series calls its own."""

    columns: int = 2

    @property
    def layout(self) -> Mapping[str, Leaf]:
        return {"x": Leaf((self.columns,))}

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        return all_kept(torch.as_tensor(records, dtype=torch.float32))

    def prepare(self, stored: Features) -> State:
        assert isinstance(stored, Tensor)
        return {"mean": stored.mean(0, keepdim=True), "spread": stored.std(0, keepdim=True) + 1e-3}

    def features(self, stored: Features, fitted: State | None = None) -> Features:
        assert isinstance(stored, Tensor)
        return stored if fitted is None else (stored - fitted["mean"]) / fitted["spread"]


@dataclass(frozen=True, kw_only=True)
class Lenses(Format):
    """Rows of any length, which a network may say that it takes."""

    length: int = 4

    @property
    def layout(self) -> Mapping[str, Leaf]:
        return {"x": Leaf((self.length,))}

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        return all_kept(torch.as_tensor(records, dtype=torch.float32))

    def fitting(self, stored: Features, records: Any = None) -> Format:
        return replace(self, length=leaves(stored)[0].shape[1])

    def accepts(self, other: Format) -> bool:
        return isinstance(other, Lenses)


class Ordinal(Classes):
    """Classes in an order, judged by how many are one off at most."""

    metric: ClassVar[Metric] = Metric("near", "near", "share that is near", higher_is_better=True, percent=True)

    def scores(self, prediction: Tensor, y: Tensor) -> Tensor:
        return ((prediction.argmax(1) - y).abs() <= 1).float()


class Mean(nn.Module):
    """Three numbers of the mean and the largest of a row, of whatever length."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        read: Tensor = self.out(torch.stack([x.mean(1), x.amax(1)], dim=1))
        return read


def points(count: int = 60) -> tuple[Tensor, list[int]]:
    x = 100 + torch.randn(count, 2, generator=torch.Generator().manual_seed(0))
    return x, [i % 6 for i in range(count)]


def config(**changes: Any) -> qs.RunConfig:
    made = qs.RunConfig(
        name="odd", tasks=sources.part("own"), model=models.part("mlp", width=8), learner=learners.part("protonet"),
        ways=2, shots=2, queries=2, iterations=2, validation_episodes=2, calibration_episodes=1, device="cpu",
    )  # fmt: skip
    return replace(made, **changes)


def rows_of(episode: Episode, x: Tensor, format: Format) -> None:
    """Each task's features are those of the stored rows whose support set it has."""
    for task in range(len(episode.support.y)):
        support, query = episode.support.x[task], episode.query.x[task]
        assert isinstance(support, Tensor) and isinstance(query, Tensor)
        known = support[episode.support.mask[task]]
        torch.testing.assert_close(known.mean(0), torch.zeros(2), atol=1e-4, rtol=0)
        torch.testing.assert_close(known.std(0), torch.ones(2), atol=1e-2, rtol=0)
        assert float(query.abs().max()) < 50, "the queries are in other units than the support set"


def test_what_a_support_set_teaches_is_used_in_training_as_in_use() -> None:
    formats.register("standardised")(Standardised)
    format, (x, _) = Standardised(), points(100)
    y = [i % 10 for i in range(100)]
    for size in (Sampling(2, 3, 4), Sampling(3, 4, 2, min_ways=2, min_shots=2)):
        source = arrays(x, y, format=format).sampled(size)
        rows_of(source.episodes("train", torch.arange(5)), x, format)
    machines = {f"m{i}": (x[i::10], torch.arange(10.0)) for i in range(10)}
    made = tables(machines, format=format).sampled(Sampling(1, 4, 3, min_shots=2))
    rows_of(made.episodes("train", torch.arange(5)), x, format)
    learner = build_learner(config(), TaskSpec(format, targets.make("classes", ways=2)))
    support, _, fitted, *_ = support_set(learner, config(), x[:6], list("aabbab"), torch.zeros(()))
    torch.testing.assert_close(support.x, format.features(x[:6], format.prepare(x[:6])))
    assert set(fitted) == {"mean", "spread"}


def test_constants_of_inputs_do_not_scale_answers() -> None:
    formats.register("standardised")(Standardised)
    learner = build_learner(config(learner=learners.part("r2d2")), TaskSpec(Standardised(), targets.make("numbers")))
    params = learner.init(torch.Generator().manual_seed(0))
    model = adapt(
        config(learner=learners.part("r2d2")), learner, params, Given(records=points()[0][:8], labels=torch.arange(8.0))
    )
    answer = model.predict(points()[0][:8])
    assert answer.columns == ("value",) and model.fitted.keys() == {"mean", "spread"}
    x = model.spec.format.features(points()[0][:8], model.fitted)
    torch.testing.assert_close(torch.as_tensor(answer.values), model(x))


@pytest.mark.parametrize("kind", ["arrays", "records", "table_csv"])
def test_a_target_of_ones_own_is_asked_of_classes(kind: str, tmp_path: Path) -> None:
    targets.register("ordinal")(Ordinal)
    x, y = points()
    path = tmp_path / "rows.csv"
    path.write_text("a,b,label\n" + "".join(f"{a},{b},{label}\n" for (a, b), label in zip(x.tolist(), y, strict=True)))
    made: dict[str, Source] = {
        "arrays": arrays(x, y, target=Ordinal(ways=2)) if kind == "arrays" else arrays(x, y),
        "records": sources.make("records", root=str(path), format="table", target="ordinal"),
        "table_csv": sources.make("table_csv", path=str(path), target="ordinal"),
    }
    run = qs.train(config(), source=made[kind], out=tmp_path / "run", quiet=True)
    assert type(run.spec.target) is Ordinal
    result = run.evaluate(episodes=4)
    assert result.metric == "near" and result.figure.words == "share that is near"


def test_numbers_are_no_classes() -> None:
    with pytest.raises(ConfigError, match=r"Use quickstudy.tasks.tables"):
        arrays(*points(), target=targets.make("numbers"))


def test_data_sets_with_names_are_read_in_one_order() -> None:
    def named(first: str, second: str) -> Sequence[Mapping[str, float]]:
        return [{first: 1.0 if first == "a" else 2.0, second: 2.0 if second == "b" else 1.0} for _ in range(20)]

    source = tables([(named("a", "b"), torch.zeros(20)), (named("b", "a"), torch.zeros(20))] * 4)
    episode = source.episodes("train", torch.arange(6))
    assert isinstance(episode.support.x, Tensor)
    assert episode.support.x.reshape(-1, 2).unique(dim=0).tolist() == [[1.0, 2.0]]
    assert source.spec.format == qs.formats.Table(columns=2, names=("a", "b"))


def test_a_metric_has_a_name_of_its_own() -> None:
    announce(Metric("accuracy", "accuracy", "accuracy", higher_is_better=True, percent=True, short="correct"))
    for name, said in (("accuracy", "another metric"), ("loss", "what runs write"), ("seconds", "what runs write")):
        with pytest.raises(ConfigError, match=said):
            announce(Metric(name, "mine", "my own", higher_is_better=False))


def test_a_network_of_ones_own_takes_what_its_format_accepts_and_it_can(tmp_path: Path) -> None:
    formats.register("lenses")(Lenses)
    x = torch.randn(60, 4)
    source = arrays(x, points()[1], format=Lenses())
    run = qs.train(config(), module=Mean(), source=source, out=tmp_path / "run", quiet=True)
    assert run.adapt(torch.randn(4, 7), list("aabb")).predict(torch.randn(2, 7)).names
    rigid = qs.train(config(), module=nn.Linear(4, 3), source=source, out=tmp_path / "rigid", quiet=True)
    with pytest.raises(ShapeError, match=r"but the run was trained on"):
        rigid.adapt(torch.randn(4, 7), list("aabb"))


@dataclass(frozen=True, kw_only=True)
class Pairs(Format):
    """Ids and numbers."""

    @property
    def layout(self) -> Mapping[str, Leaf]:
        return {"ids": Leaf((3,), torch.int64), "numbers": Leaf((2,))}

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        return all_kept(records)


class Both(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(9, 4), nn.Linear(6, 5)

    def forward(self, ids: Tensor, numbers: Tensor) -> Tensor:
        read: Tensor = self.out(torch.cat([self.words(ids).mean(1), numbers], dim=1))
        return read


@pytest.mark.parametrize("name", ["incontext", "cnp", "anp", "snail", "lstm", "mann", "finetune", "protonet"])
def test_every_learner_takes_formats_of_several_tensors(name: str) -> None:
    spec = TaskSpec(Pairs(), targets.make("classes", ways=2))
    learner = learners[name](Both(), spec)
    assert Network(Both()).output_shape(Pairs()) == (5,)
    x: Features = {"ids": torch.arange(12).reshape(4, 3) % 9, "numbers": torch.randn(4, 2)}
    support = qs.Examples(x, torch.tensor([0, 0, 1, 1]), torch.ones(4, dtype=torch.bool))
    params = learner.init(torch.Generator().manual_seed(0))
    assert learner.predict(params, learner.adapt(params, support), x).shape == (4, 2)


def test_a_wrong_number_of_outputs_is_refused_where_inputs_are_several_tensors() -> None:
    with pytest.raises(qs.QuickstudyError, match=r"The network gives \(5,\) numbers"):
        learners["maml"](Both(), TaskSpec(Pairs(), targets.make("classes", ways=2)))


def test_floats_that_are_pixels_are_refused() -> None:
    format = qs.formats.Image(size=4, channels=1)
    format.store(torch.rand(3, 1, 4, 4))
    with pytest.raises(DataError, match=r"must lie in \[0, 1\], found values from .* to 255"):
        format.store(torch.full((3, 1, 4, 4), 255.0))


def test_a_record_that_cannot_be_drawn_spoils_no_report(tmp_path: Path) -> None:
    formats.register("lenses")(Lenses)

    class Half(Lenses):
        def draw(self, x: Features) -> Drawing | None:
            assert isinstance(x, Tensor)
            return Text("drawn") if float(x[0]) > 0 else None

    formats.register("half")(Half)
    source = arrays(torch.randn(80, 4), [i % 8 for i in range(80)], format=Half())
    run = qs.train(config(iterations=4), module=nn.Linear(4, 3), source=source, out=tmp_path / "run", quiet=True)
    page = qs.report(run, episodes=8, quiet=True).read_text()
    assert "drawn" in page and "·" in page


@pytest.mark.parametrize("size", [1e160, 1e39, 1e25, 1e-25, 1e-46, 1e-320])
@pytest.mark.parametrize("part", ["x", "y"])
def test_numbers_that_float32_cannot_hold_are_refused(size: float, part: str) -> None:
    tasks: dict[str, Any] = {f"t{i}": (torch.randn(12, 2), [float(i + j) for j in range(12)]) for i in range(12)}
    values = [size * (1 + j) for j in range(12)]
    tasks["t3"] = ([[v, 1e-3 * v] for v in values], tasks["t3"][1]) if part == "x" else (tasks["t3"][0], values)
    with pytest.raises(DataError, match=f"{part} of t3 holds numbers as (large|small) as .* which cannot be computed"):
        tables(tasks)


@pytest.mark.parametrize("size", [1e160, 1e-320])
def test_series_that_doubles_cannot_square_are_refused(size: float) -> None:
    with pytest.raises(DataError, match="cannot be computed with"):
        qs.tasks.recorded({f"s{i}": [size * (j + i * j * j) for j in range(12)] for i in range(12)})


@pytest.mark.parametrize("size", [1e39, 1e-46])
def test_other_series_are_in_their_own_units(size: float) -> None:
    source = qs.tasks.recorded({f"s{i}": [size * (j + i * j * j) for j in range(12)] for i in range(12)})
    y = source.sampled(qs.Sampling(1, 4, 4)).episodes("train", torch.arange(4)).query.y
    assert bool(torch.isfinite(y).all()) and float(y.std()) > 0.1
