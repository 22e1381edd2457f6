"""From files of texts to an adapted model: the source, the recipe, the commands, and another process."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.errors import ConfigError, DataError
from quickstudy.registry import formats, learners, models, sources
from quickstudy.runs.train import resume, train
from quickstudy.tasks import arrays, text

pytest.importorskip("tokenizers")

WORDS = ["card", "refund", "银行卡", "بطاقة", "loan", "汇率", "queue", "fee", "pin", "limit"]


def written(path: Path, each: int = 12, words: list[str] = WORDS) -> Path:
    """Ten classes, each with a word of its own, and so a file of CSV."""
    rows = [
        f"{turn} the {word} {turn} please,about {word}\n" for word in words for turn in map(chr, range(97, 97 + each))
    ]
    path.write_text("text,label\n" + "".join(rows), encoding="utf-8")
    return path


def small(path: Path, **options: Any) -> qs.RunConfig:
    return replace(
        qs.recipes.text(), tasks=sources.part("text", path=str(path), length=48, vocabulary=320, **options),
        ways=2, train_ways=3, train_shots=3, iterations=4, validate_every=4, checkpoint_every=2, validation_episodes=8,
        calibration_episodes=1, device="cpu",
    )  # fmt: skip


@pytest.mark.parametrize("by", ["source", "arrays"])
def test_nothing_of_held_out_classes_is_in_the_vocabulary(by: str, tmp_path: Path) -> None:
    """The tokenizer is the one that the training classes' texts alone teach, and no other."""
    path = written(tmp_path / "a.csv")
    if by == "source":
        source = text(path=str(path), vocabulary=320)
    else:
        records = formats.make("text").find(path)
        source = arrays(list(records.items), records.labels, format=formats.make("text", vocabulary=320))
    trained = set(source.classes("train"))
    assert len(trained) == 6
    records = formats.make("text").find(path)
    assert records.labels is not None
    mine = [item for item, label in zip(records.items, records.labels, strict=True) if label in trained]
    format: Any = source.spec.format
    assert format.tokenizer == formats.make("text", vocabulary=320).learn(mine).tokenizer
    assert format.tokenizer != formats.make("text", vocabulary=320).learn(records.items).tokenizer


def test_files_are_splits_and_so_are_names_in_a_file(tmp_path: Path) -> None:
    for name, words in (("train", WORDS[:4]), ("valid", WORDS[4:7]), ("test", WORDS[7:])):
        written(tmp_path / f"{name}.csv", words=words)
    source = text(path=str(tmp_path))
    assert [source.classes(split) for split in ("train", "val", "test")] == [
        sorted(f"about {word}" for word in words) for words in (WORDS[:4], WORDS[4:7], WORDS[7:])
    ]
    parts = {"train": WORDS[:5], "valid": WORDS[5:7], "test": WORDS[7:]}
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps({name: [f"about {word}" for word in words] for name, words in parts.items()}))
    everything = written(tmp_path / "all.csv")
    named = text(path=str(everything), splits=str(splits))
    assert len(named.classes("train")) == 5 and set(named.classes("test")) == set(source.classes("test"))
    with pytest.raises(ConfigError, match="Leave it out"):
        text(path=str(tmp_path), splits=str(splits))
    (tmp_path / "test.jsonl").write_text("{}")
    with pytest.raises(DataError, match=r"test\.csv and test\.jsonl"):
        text(path=str(tmp_path))


def test_of_files_a_pattern_in_their_names_is_the_group(tmp_path: Path) -> None:
    """Never is it asked for and not kept."""
    for word in ("card", "loan"):
        for i in range(8):
            path = tmp_path / word / f"writer{i % 4}-{i}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{word} {i}")
    source = text(path=str(tmp_path), vocabulary=320, val=0, test=0, group="writer([0-9])-")
    assert source.records is not None and source.records.names == ("0", "1", "2", "3")
    assert text(path=str(tmp_path), vocabulary=320, val=0, test=0).records is None


def test_columns_that_are_not_there_are_told(tmp_path: Path) -> None:
    path = str(written(tmp_path / "a.csv"))
    for option, flag in (("text", "--tasks.text"), ("label", "--tasks.label"), ("group", "--tasks.group")):
        with pytest.raises(DataError, match=rf"no column 'gone'.*\['text', 'label'\].*{flag}"):
            text(**{"path": path, option: "gone"})  # type: ignore[arg-type]


def test_a_run_learns_new_classes_in_another_process_without_its_data(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv")
    run = train(small(path), out=tmp_path / "run", quiet=True)
    result = run.evaluate(ways=2, shots=1, queries=3, episodes=20)
    assert result.mean > 0.9  # every class has a word of its own
    model = run.adapt(["my kiosk", "kiosk here", "a tram", "tram there"], ["kiosk", "kiosk", "tram", "tram"])
    assert model.predict("which tram is it?")[0][0] == "tram"
    asked = ["which tram is it?", "a kiosk", "电车"]
    expected = model.predict(asked).probabilities
    model.save(tmp_path / "model")
    path.unlink()
    again = qs.Run(tmp_path / "run").adapt(["my kiosk", "kiosk here", "a tram", "tram there"], ["k", "k", "t", "t"])
    assert torch.equal(again.predict(asked).probabilities, expected)
    program = (
        f"import quickstudy as qs; m = qs.load({str(tmp_path / 'model')!r}, device='cpu'); "
        f"print(m.predict({asked!r}).probabilities.tolist())"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    torch.testing.assert_close(torch.tensor(json.loads(told)), expected)


def test_resuming_is_never_having_stopped(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv")
    config = replace(small(path), schedule="none", validate_every=2)
    whole = train(config, out=tmp_path / "whole", quiet=True)
    train(replace(config, iterations=2), out=tmp_path / "parts", quiet=True)
    parts = resume(tmp_path / "parts", iterations=4, quiet=True)
    assert all(torch.equal(value, parts.params[name]) for name, value in whole.params.items())


def test_texts_that_have_changed_leave_the_tokenizer_as_it_was(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv")
    run = train(small(path), out=tmp_path / "run", quiet=True)
    written(path, each=20)
    again = qs.Run(tmp_path / "run")
    assert again.parts.source.spec.format == run.spec.format
    again.config = replace(again.config, tasks=sources.part("text", path=str(path), length=48, vocabulary=320))
    again.__dict__.pop("parts")
    with pytest.raises(DataError, match="was trained on texts of up to 48 tokens; 2 classes, and they differ"):
        again.evaluate(episodes=2)


def test_the_commands_take_files_and_sentences(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    written(Path("my.csv"))
    few = "--ways 2 --train-ways 3 --train-shots 3 --iterations 2 --validation-episodes 4 --no-report --device cpu"
    assert main(f"train text --tasks.path my.csv {few}".split()) == 0
    Path("new.csv").write_text("text,label\nmy kiosk,kiosk\na kiosk,kiosk\nthe tram,tram\nsome tram,tram\n")
    assert main(["adapt", "text", "--support", "new.csv", "--out", "m", "--device", "cpu"]) == 0
    capsys.readouterr()
    assert main(["predict", "m", "where is the tram?", "kiosk!", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "where is the tram?  tram" in said and "kiosk!              kiosk" in said
    Path("queries.csv").write_text("text\nwhere is the tram?\nkiosk!\n")
    assert main(["predict", "m", "queries.csv", "--out", "said.csv", "--device", "cpu"]) == 0
    lines = Path("said.csv").read_text().splitlines()
    assert lines[1].startswith("where is the tram?,tram") and lines[2].startswith("kiosk!,kiosk")
    assert main(["predict", "m", "gone.csv", "--device", "cpu"]) != 0
    assert main(["predict", "m", "queries.csv", "--out", "queries.csv", "--device", "cpu"]) != 0


def test_strings_in_memory_are_texts(tmp_path: Path) -> None:
    words = ["card", "money", "loan", "rate", "bank", "lost", "open", "close", "fee", "limit"]
    x = [f"where is my {word} {i}" for word in words for i in range(6)]
    source = qs.tasks.arrays(x, [word for word in words for _ in range(6)])
    config = qs.RunConfig(
        name="s", model=models.part("ngrams"), learner=learners.part("protonet"), ways=2, shots=2,
        queries=2, iterations=2, validation_episodes=4, device="cpu", compile="off",
    )  # fmt: skip
    run = qs.train(config, source=source, out=tmp_path / "run", quiet=True)
    model = run.adapt(
        ["a lost card", "my card is lost", "open an account", "please open it"], ["lost", "lost", "open", "open"]
    )
    assert model.predict("the card that I lost").names == ["lost"]


def test_what_was_not_held_out_is_not_measured_and_adapting_is_proposed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = train(small(written(tmp_path / "a.csv"), val=0.0, test=0.0), out=tmp_path / "r", quiet=True)
    for command in (["evaluate", "r"], ["report", "r"]):
        assert main(command) == 2
        assert "The split 'test' has no classes: none were held out" in capsys.readouterr().err
    assert main(["train", "--resume", str(run.folder), "--no-report"]) == 0
    assert "Next: quickstudy adapt" in capsys.readouterr().out
