"""Intervals of numbers and forecasts hold the truth as often as they say, over tasks that nothing was fitted to."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.engine import Engine
from quickstudy.episode import Examples
from quickstudy.episode import task as task_of
from quickstudy.errors import ConfigError
from quickstudy.registry import learners, models, sources
from quickstudy.report.trusted import trust_sections
from quickstudy.targets.answers.numbers import NumberAnswer
from quickstudy.targets.distribution import Distribution
from quickstudy.tasks.base import Sampling, Source
from quickstudy.training.learner import build_learner
from quickstudy.trust.base import Trust
from quickstudy.trust.checked_values import CheckedIntervals
from quickstudy.trust.draw import Size
from quickstudy.trust.fit import fit_trust
from quickstudy.trust.intervals import IntervalTrust, missed, residuals

OWN = Sampling(1, 12, 20)


def engine_of(source: Source, learner: str, **options: object) -> tuple[Engine, dict[str, Tensor]]:
    config = qs.RunConfig(name="t", learner=learners.part(learner, **options), model=models.part("mlp"))
    built = build_learner(config, source.sampled(OWN).spec)
    return Engine(built, torch.device("cpu")), built.init(torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=["r2d2", "cnp"])
def fitted(request: pytest.FixtureRequest) -> tuple[Engine, dict[str, Tensor], Trust]:
    """Networks that nobody trained: their errors are large, those of one without and those of one with a spread."""
    engine, params = engine_of(qs.tasks.sinusoid(), request.param)
    return engine, params, fit_trust(engine, params, qs.tasks.sinusoid(), OWN, seed=0, tasks=200)


@pytest.mark.parametrize("shots", [12, 6])
def test_intervals_hold_the_truth_as_often_as_they_say(
    fitted: tuple[Engine, dict[str, Tensor], Trust], shots: int
) -> None:
    engine, params, trust = fitted
    assert trust.intervals is not None
    for level in (0.5, 0.8, 0.95):
        held, count = [], 0
        size = Size(1, shots, 0, 20, tasks=200)
        for one in missed(engine, params, qs.tasks.sinusoid(), "test", size, trust.folds, first=0):
            reach = float(trust.intervals.distances.at(level, one.features).exp())
            held.append(float((one.away <= reach).double().mean()))
            count += len(one.away)
        share = torch.tensor(held).double()
        assert abs(float(share.mean()) - level) < 3 * float(share.std()) / len(held) ** 0.5 + 0.03, (
            level,
            share.mean(),
        )


def test_residuals_are_those_of_really_leaving_out() -> None:
    source = qs.tasks.sinusoid().sampled(OWN)
    engine, params = engine_of(source, "r2d2")
    learner, support = engine.learner.evaluated(), task_of(source.episodes("val", torch.arange(1)), 0).support
    found = residuals(learner, params, support, 12)
    wrong = []
    for i in range(12):
        others = torch.arange(12) != i
        few = Examples(support.x[others], support.y[others], support.mask[others])  # type: ignore[index]
        said = learner.predict(params, learner.adapt(params, few), support.x[i : i + 1])  # type: ignore[index]
        wrong.append((support.y[i] - said[0]).square())
    assert torch.allclose(found.scale, torch.stack(wrong).mean(0).sqrt().double(), rtol=1e-4)
    padded = Examples(
        torch.cat([support.x, support.x[:3]]),  # type: ignore[index, list-item]
        torch.cat([support.y, support.y[:3]]),
        torch.cat([support.mask, torch.zeros(3, dtype=torch.bool)]),
    )
    assert torch.allclose(residuals(learner, params, padded, 12).scale, found.scale, rtol=1e-4)


def test_forecasts_are_rolled_as_they_are_asked_for() -> None:
    """By windows as by the values of the series; intervals grow with the steps, as far as validation tasks reach."""
    source = qs.tasks.series(kind="ar").sampled(OWN)
    engine, params = engine_of(qs.tasks.series(kind="ar"), "r2d2")
    learner = engine.learner.evaluated()
    one = task_of(source.episodes("val", torch.arange(1)), 0)
    state, format = learner.adapt(params, one.support), source.spec.format
    by_windows = format.rolled(lambda x: learner.predict(params, state, x), one.query.x)
    values = source.values("val", torch.arange(1))[0].double()[: 1 + OWN.shots]
    said = format.ask(
        lambda x: Distribution(learner.predict(params, state, x.float())),  # type: ignore[union-attr]
        values, format.prepare(values), steps=OWN.queries,
    )  # fmt: skip
    assert torch.allclose(by_windows[:, 0].double(), said.mean.double().flatten(), atol=1e-4)
    trust = fit_trust(engine, params, source, OWN, seed=0, tasks=80)
    assert trust.intervals is not None and len(trust.intervals.growth) == OWN.queries
    own = IntervalTrust(trust, *(part.cpu() for part in residuals(learner, params, one.support, 4)))
    half = own.half(Distribution(by_windows[:5]), 0.8)
    assert half.shape == (5, 1) and bool((half[1:] >= half[:-1]).all())
    with pytest.raises(ConfigError, match="reach 20 steps"):
        own.half(Distribution(torch.zeros(21, 1)), 0.8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> qs.Run:
    config = qs.RunConfig(
        name="t", tasks=sources.part("sinusoid"), learner=learners.part("r2d2"), model=models.part("mlp"), ways=1,
        shots=10, queries=10, iterations=10, validation_episodes=20, device="cpu",
    )  # fmt: skip
    found = qs.train(config, out=tmp_path_factory.mktemp("numbers") / "run", quiet=True)
    found.fit_trust(tasks=60)
    return found


def test_an_answer_tells_its_intervals(run: qs.Run, tmp_path: Path) -> None:
    x = torch.linspace(-4, 4, 12)[:, None]
    model = run.adapt(x, x.sin().tolist())
    model.save(tmp_path / "m")
    again = qs.Model.load(tmp_path / "m", device="cpu")
    answer = again.predict(x, coverage=0.9)
    assert isinstance(answer, NumberAnswer) and answer.low is not None and answer.high is not None
    assert answer.columns == ("value", "low", "high") and len(answer.row(0)) == 3 and " to " in answer.told(0)
    assert torch.equal(answer.low, model.predict(x, coverage=0.9).low)
    mean = (answer.low + answer.high) / 2
    assert torch.allclose(mean, answer.values.double(), atol=1e-6)
    narrow = again.predict(x, coverage=0.5)
    assert narrow.low is not None and bool((narrow.low > answer.low).all())
    (told,) = answer.covered(answer.values + 2 * (answer.high - answer.low))
    assert told.level == 0.9 and not bool(told.inside.any())
    assert bool(answer.covered(answer.values)[0].inside.all())


def test_intervals_are_held_against_test_tasks(run: qs.Run) -> None:
    """As often as was promised; half as wide, they no longer hold."""
    found = run.check_trust(tasks=60)
    assert isinstance(found, CheckedIntervals) and found.tasks == 60 and found.coverage == 0.95
    assert abs(found.covered.mean - 0.95) < 3 * found.covered.ci95 / 1.96 + 0.02
    honest = run.trust
    at = honest.intervals
    assert at is not None
    lines = tuple(replace(line, bias=line.bias - math.log(2)) for line in at.distances.lines)
    try:
        run.__dict__["trust"] = replace(honest, intervals=replace(at, distances=replace(at.distances, lines=lines)))
        narrow = run.check_trust(tasks=60)
    finally:
        run.__dict__["trust"] = honest
    assert isinstance(narrow, CheckedIntervals)
    assert narrow.covered.mean + narrow.covered.ci95 < 0.93
    assert narrow.width.mean == pytest.approx(found.width.mean / 2, rel=1e-6)


def test_the_width_is_that_of_the_answers(run: qs.Run) -> None:
    """Of one task, asked as a user asks, in units of the spread of its support labels."""
    found = run.check_trust(tasks=2)
    assert isinstance(found, CheckedIntervals)
    source, _ = run.sampled(Sampling(1, 10, 150))
    widths, inside = [], []
    for number in range(2):
        task = task_of(source.episodes("test", torch.tensor([number])), 0)
        answer = run.adapt(task.support.x, task.support.y).predict(task.query.x, coverage=0.95)
        assert isinstance(answer, NumberAnswer) and answer.low is not None and answer.high is not None
        widths.append(float((answer.high - answer.low).mean() / task.support.y.std(correction=0)))
        y = task.query.y.double()
        inside.append(float(((answer.low <= y) & (y <= answer.high)).double().mean()))
    assert found.queries == 150 and found.width.mean == pytest.approx(min(widths), rel=1e-3)  # the lower of two
    assert found.covered.mean == pytest.approx(sum(inside) / 2, abs=1e-6)


def test_the_command_and_the_report_tell_of_intervals(
    run: qs.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.json"
    asked = ["evaluate", str(run.folder), "--episodes", "4", "--trust", "3", "--out", str(out)]
    assert main(asked) == 0
    assert re.search(r"the true value lies in its interval +95 % +[0-9.]+ ± [0-9.]+ %", capsys.readouterr().out)
    told = json.loads(out.read_text())[0]["trust"]
    assert told["tasks"] == 3 and set(told) == {"tasks", "queries", "coverage", "covered", "width"}
    numbers: dict[str, Any] = {}
    (section,) = trust_sections(run, 60, numbers)
    assert section.title == "How far it can be trusted" and "(95 % promised)" in section.text
    assert numbers["trust"]["tasks"] == 20 and "95 % intervals hold the value" in section.body.replace("\u00a0", " ")


@pytest.mark.parametrize("val", [0.0, 0.4])
def test_the_command_proposes_what_can_be_fitted(
    val: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"g{g},{i / 20},{g * i / 20}" for g in range(12) for i in range(20)]
    (tmp_path / "t.csv").write_text("\n".join(["g,a,y", *rows]))
    tasks = sources.part("table_csv", path=str(tmp_path / "t.csv"), group="g", label="y", val=val, target="numbers")
    learner = learners.part("axial", width=8, layers=1)
    config = qs.RunConfig(
        name="t", tasks=tasks, learner=learner, model=models.part("cells"), ways=1, shots=4, queries=4,
        iterations=1, validation_episodes=2, compile="off",
    )  # fmt: skip
    folder = qs.train(config, out=tmp_path / "run", quiet=True).folder
    assert main(["evaluate", str(folder), "--episodes", "4"]) == 0
    assert ("--trust 60" in capsys.readouterr().out) == (val > 0)


def test_what_numbers_cannot_promise_is_refused(run: qs.Run) -> None:
    x = torch.linspace(-4, 4, 12)[:, None]
    model = run.adapt(x, x.sin().tolist())
    with pytest.raises(ConfigError, match="coverage=0.9"):
        _ = model.estimate
    with pytest.raises(ConfigError, match="Inputs of no class"):
        model.predict(x, false_alarms=0.05)
    with pytest.raises(ConfigError, match="nothing is certain"):
        model.predict(x, coverage=1)
    with pytest.raises(ConfigError, match="One example shows no errors"):
        run.adapt(x[:1], [0.5]).predict(x, coverage=0.9)
    with pytest.raises(ConfigError, match="made without"):
        run.adapt(x, x.sin().tolist(), trust=False).predict(x, coverage=0.9)


def test_a_model_of_one_example_is_loaded_and_knows_no_intervals(run: qs.Run, tmp_path: Path) -> None:
    x = torch.linspace(-4, 4, 12)[:, None]
    model = run.adapt(x[:1], [0.5])
    again = qs.load(model.save(tmp_path / "one"), device="cpu")
    torch.testing.assert_close(again.predict(x).values, model.predict(x).values)
    with pytest.raises(ConfigError, match="One example shows no errors"):
        again.predict(x, coverage=0.9)


def test_of_several_numbers_all_lie_within_together() -> None:
    answer = NumberAnswer(torch.zeros(2, 3)).between(torch.ones(2, 3), 0.8)
    (told,) = answer.covered(torch.tensor([[0.5, -0.5, 0.9], [0.5, 0.5, 1.1]]))
    assert told.inside.tolist() == [True, False]
    assert answer.columns[-1] == "high 3"
