"""Classes that are known by their names alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.errors import ConfigError

pytest.importorskip("tokenizers")

NAMES = ("card arrival", "refund", "exchange rate")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> qs.Run:
    place = tmp_path_factory.mktemp("names")
    topics = [
        "loan interest",
        "pin blocked",
        "cash machine",
        "top up",
        "age limit",
        "lost phone",
        "new address",
        "fees",
    ]
    lines = [
        f"{verb} my {topic},{topic}" for topic in topics for verb in ("where is", "what about", "tell me of", "why")
    ]
    (place / "t.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    config = replace(qs.recipes.text(), iterations=0, ways=2, queries=2, min_shots=None, train_shots=1, train_ways=2)
    tasks = replace(config.tasks, options=config.tasks.options | {"path": str(place / "t.csv")})
    return qs.train(replace(config, tasks=tasks, validation_episodes=2), out=place / "run", quiet=True)


def test_the_name_of_a_class_is_its_example(run: qs.Run) -> None:
    model = run.adapt(classes=["card_arrival", "refund", "exchange_rate"])
    assert model.names == ("card_arrival", "exchange_rate", "refund")
    texts = ["the arrival of my card", "i ask for a refund", "what is the rate of exchange"]
    best = model(model.spec.format.features(model.spec.format.store(texts).x)).argmax(1).tolist()
    assert [model.names[i] for i in best] == ["card_arrival", "refund", "exchange_rate"]
    same = run.adapt(["card arrival", "refund", "exchange rate"], ["card_arrival", "refund", "exchange_rate"])
    assert torch.equal(same.state["prototypes"], model.state["prototypes"])


def test_names_and_examples_together(run: qs.Run) -> None:
    both = run.adapt(["a refund please"], ["refund"], classes=NAMES)
    by_hand = run.adapt([*NAMES, "a refund please"], [*NAMES, "refund"])
    assert both.names == by_hand.names
    torch.testing.assert_close(both.state["prototypes"], by_hand.state["prototypes"])
    as_array = run.adapt(["a refund please"], np.array(["refund"]), classes=NAMES)
    assert as_array.names == both.names


def test_a_template_stands_around_each_name(run: qs.Run) -> None:
    model = run.adapt(classes=NAMES, template="a question about {}")
    by_hand = run.adapt([f"a question about {name}" for name in NAMES], NAMES)
    assert torch.equal(model.state["prototypes"], by_hand.state["prototypes"])
    with pytest.raises(ConfigError, match="must hold {} once"):
        run.adapt(classes=NAMES, template="a question")


def test_columns_of_other_names_are_told(
    run: qs.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file with the columns `question` and `topic` makes the model that one with `text` and `label` makes."""
    monkeypatch.chdir(tmp_path)
    rows = [f"where is my {name} {i}?,{name}" for name in ("card", "refund") for i in range(3)]
    for names in ("text,label", "question,topic"):
        Path(f"{names}.csv").write_text("\n".join([names, *rows]) + "\n", encoding="utf-8")
    adapt = ["adapt", str(run.folder), "--no-trust", "--support"]
    assert main([*adapt, "text,label.csv", "--out", "a"]) == 0
    told = ["question,topic.csv", "--text", "question", "--target", "topic", "--out", "b"]
    assert main([*adapt, *told]) == 0
    one, other = qs.Model.load("a"), qs.Model.load("b")
    assert one.names == other.names and torch.equal(one.state["prototypes"], other.state["prototypes"])
    assert main(["predict", "b", "question,topic.csv", "--out", "said.csv"]) == 0
    assert Path("said.csv").read_text(encoding="utf-8").splitlines()[1].startswith("where is my card 0?,card")
    capsys.readouterr()
    assert main([*adapt, "question,topic.csv", "--out", "c"]) == 2
    assert "where you adapt: --text" in capsys.readouterr().err
    python = run.adapt("question,topic.csv", text="question", label="topic", trust=False)
    assert torch.equal(python.state["prototypes"], one.state["prototypes"])


def test_on_the_command_line(run: qs.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "m")
    assert main(["adapt", str(run.folder), "--classes", *NAMES, "--out", out]) == 0
    assert "Learned 3 classes from 3 texts" in capsys.readouterr().out
    assert main(["predict", out, "my refund"]) == 0
    assert "refund" in capsys.readouterr().out
    assert main(["adapt", str(run.folder), "--out", str(tmp_path / "n")]) == 2
    assert "--classes" in capsys.readouterr().err


def test_names_say_nothing_about_other_records(tmp_path: Path) -> None:
    source = qs.tasks.arrays(torch.randn(40, 3), [i % 8 for i in range(40)], val=0.25, test=0.25)
    config = qs.RunConfig(
        name="n", learner=qs.registry.learners.part("protonet"), ways=2, queries=2, iterations=0, validation_episodes=2
    )
    run = qs.train(config, out=tmp_path / "r", module=nn.Identity(), source=source, quiet=True)
    with pytest.raises(ConfigError, match="the name of a class is no such"):
        run.adapt(classes=["a", "b"])
    with pytest.raises(ConfigError, match="nothing to learn from"):
        run.adapt()
