"""Runs of learners that read, from training to an adapted model that says how sure it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import quickstudy as qs
from quickstudy.errors import ConfigError, ShapeError
from quickstudy.evaluation.result import Result
from quickstudy.registry import learners, models, recipes, sources
from quickstudy.report import report
from quickstudy.storage.json import read_json
from quickstudy.targets.answers.numbers import NumberAnswer
from quickstudy.training.config import RunConfig

SMALL: dict[str, object] = {
    "iterations": 2, "meta_batch": 2, "validation_episodes": 4, "validate_every": 2, "compile": "off", "device": "cpu",
}  # fmt: skip


def trained(name: str, folder: Path, **changes: object) -> qs.Run:
    config = replace(recipes[name](), **(SMALL | changes))
    return qs.train(config, out=folder / "run", quiet=True)


def test_a_regression_says_how_sure_it_is(tmp_path: Path) -> None:
    run = trained("gp-incontext", tmp_path)
    result = run.evaluate(episodes=20)
    assert set(result.figures) == {"nll"}
    model = run.adapt(torch.tensor([[-1.0], [0.0], [1.0]]), torch.tensor([[0.5], [0.1], [-0.5]]))
    x = torch.linspace(-2, 2, 7)[:, None]
    answer = model.predict(x)
    assert isinstance(answer, NumberAnswer) and answer.spread is not None
    torch.testing.assert_close(answer.values, model(x))
    assert answer.spread.shape == (7, 1) and all(spread > 0 for _, spread in answer)
    model.save(tmp_path / "model")
    again = qs.load(tmp_path / "model", device="cpu").predict(x)
    assert isinstance(again, NumberAnswer)
    torch.testing.assert_close((again.values, again.spread), (answer.values, answer.spread))


def test_accuracy_by_instance_is_counted_by_hand_too(tmp_path: Path) -> None:
    config = RunConfig(
        name="online", tasks=sources.part("glyphs", alphabets=30), model=models.part("conv4", width=4, pool=False),
        learner=learners.part("mann", online=True, width=8), ways=3, shots=4, queries=1, **SMALL,  # type: ignore[arg-type]
    )  # fmt: skip
    run = qs.train(config, out=tmp_path / "run", quiet=True)
    result = run.evaluate(episodes=12, split="test")
    assert list(result.figures) == [f"accuracy at instance {k}" for k in (1, 2, 3, 4)]  # of 5 and 10 there are none
    right: dict[int, list[float]] = {k: [] for k in (1, 2, 3, 4)}
    drawn = run.parts.source.episodes("test", torch.arange(12)).support
    for x, y in zip(drawn.x, drawn.y, strict=True):
        assert not torch.equal(y, y.sort().values)  # given in random order
        support = qs.Examples(x, y, torch.ones(12, dtype=torch.bool))
        with torch.no_grad():
            said = run.learner.readings(run.learner.adapt(run.params, support)).argmax(1)  # type: ignore[attr-defined]
        met = [0, 0, 0]
        task: dict[int, list[float]] = {k: [] for k in right}
        for label, answer in zip(y.tolist(), said.tolist(), strict=True):
            met[label] += 1
            task[met[label]].append(float(answer == label))
        for k, values in task.items():
            right[k].append(sum(values) / len(values))
    for k, values in right.items():
        assert result.figures[f"accuracy at instance {k}"].mean == pytest.approx(sum(values) / 12)
    assert Result.from_json(result.to_json()).figures == result.figures


def test_a_network_for_tables_takes_narrower_tables_and_names_its_limits(tmp_path: Path) -> None:
    run = trained("tables-incontext", tmp_path)
    x, y = torch.randn(20, 4), ["a", "b"] * 10
    model = run.adapt(x, y)
    assert model.names == ("a", "b")
    model.save(tmp_path / "model")
    other = torch.randn(5, 4)
    torch.testing.assert_close(qs.load(tmp_path / "model", device="cpu")(other), model(other))
    assert run.adapt(torch.randn(20, 64), y).names == ("a", "b")
    with pytest.raises(ShapeError, match="rows of 65 numbers, but the run was trained on rows of 64 numbers"):
        run.adapt(torch.randn(20, 65), y)
    with pytest.raises(ConfigError, match="11-way tasks, but the network was built for at most 10 classes"):
        run.adapt(torch.randn(22, 4), list(range(11)) * 2)


def test_other_learners_do_not_pretend_to_be_sure(tmp_path: Path) -> None:
    run = trained("sinusoid-maml", tmp_path)
    model = run.adapt(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.5], [0.1]]))
    answer = model.predict(torch.zeros(1, 1))
    assert isinstance(answer, NumberAnswer) and answer.spread is None


def test_a_model_of_fewer_classes_than_it_was_trained_for_is_loaded_as_it_was(tmp_path: Path) -> None:
    config = RunConfig(
        name="lines", tasks=sources.part("structural", columns=3), model=models.part("columns"),
        learner=learners.part("incontext", layers=1), ways=5, shots=20, queries=5, **SMALL,  # type: ignore[arg-type]
    )  # fmt: skip
    model = qs.train(config, out=tmp_path / "run", quiet=True).adapt(torch.randn(9, 2), ["x", "y", "z"] * 3)
    model.save(tmp_path / "model")
    x = torch.randn(4, 2)
    torch.testing.assert_close(qs.load(tmp_path / "model", device="cpu")(x), model(x))


def test_the_report_says_how_sure_it_is(tmp_path: Path) -> None:
    run = trained("gp-incontext", tmp_path)
    path = report(run, episodes=6, curve_episodes=4)
    numbers = read_json(run.folder / "report.json")
    within = numbers["calibration"]["within"]
    assert len(within) == len(numbers["calibration"]["levels"]) == 19
    assert within == sorted(within)  # wider intervals hold more
    assert numbers["headline"]["trained"]["figures"]["nll"]["count"] == 6
    assert "How sure it is" in path.read_text()


def test_the_report_of_an_online_learner_shows_how_it_does_while_it_reads(tmp_path: Path) -> None:
    config = RunConfig(
        name="online", tasks=sources.part("glyphs", alphabets=30), model=models.part("conv4", width=4, pool=False),
        learner=learners.part("lstm", online=True, width=8), ways=3, shots=2, queries=1, **SMALL,  # type: ignore[arg-type]
    )  # fmt: skip
    run = qs.train(config, out=tmp_path / "run", quiet=True)
    assert "While it reads" in report(run, episodes=4, curve_episodes=3).read_text()
    ways = [one["ways"] for one in read_json(run.folder / "report.json")["by_ways"]]
    assert ways == [2, 3]  # it was built for three classes
