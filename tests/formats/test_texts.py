"""Texts in any script, as ids of tokens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from quickstudy import rng
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.formats import Text
from quickstudy.formats.text_augment import TextAugment
from quickstudy.registry import formats
from quickstudy.tasks import arrays

library = pytest.importorskip("tokenizers")

TEXTS = ["Where is my card?", "where is my money", "我的卡在哪里？", "我的钱在哪里", "أين بطاقتي؟", "أين مالي؟"]


def learned(**options: Any) -> Any:
    return formats.make("text", **{"length": 24, **options}).learn(TEXTS)


def drawn(format: Any, text: str) -> str:
    x = format.features(format.store(text).x)
    return str(format.draw({name: value[0] for name, value in x.items()}).text)


@pytest.mark.parametrize("text", ["where is  your cat?", "我的猫在哪里", "أين قطتي؟", "🐈 naïve", "ไทย"])
def test_a_learned_tokenizer_loses_nothing_in_any_script(text: str) -> None:
    format = learned(length=64)
    assert drawn(format, text) == " ".join(text.split())
    assert isinstance(
        format.draw({"input_ids": torch.zeros(64).long(), "attention_mask": torch.zeros(64).long()}), Text
    )


def test_no_token_of_chinese_is_of_two_characters() -> None:
    """There are no spaces that would tell where a word ends, so that long tokens would be whole sentences."""
    format = formats.make("text", vocabulary=2000).learn(["我的卡在哪里"] * 20)
    tokens = [format.encoder.tokenizer.decode([i]) for i in range(format.encoder.vocabulary)]
    assert set("我的卡在哪里") <= {token.strip() for token in tokens}
    assert not [token for token in tokens if len(token.strip()) > 1]


def test_the_same_texts_teach_the_same_in_another_process() -> None:
    program = f"from quickstudy.registry import formats; print(formats.make('text').learn({TEXTS!r}).tokenizer)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.strip() == learned().tokenizer


def test_ids_are_padded_masked_and_small() -> None:
    format = learned()
    stored = format.store(TEXTS)
    ids, mask = stored.x["input_ids"], stored.x["attention_mask"]
    assert ids.dtype == torch.int16 and ids.shape == mask.shape == (6, 24)
    for row, seen, text in zip(ids, mask, TEXTS, strict=True):
        expected = format.encoder.tokenizer.encode(text).ids
        assert row[seen].tolist() == expected and (row[~seen] == format.encoder.padding).all()
    x = format.features(stored.x)
    assert {name: t.dtype for name, t in x.items()} == {"input_ids": torch.int64, "attention_mask": torch.int64}
    with pytest.raises(DataError, match="numbers from 0 to 9999"):
        format.check(x | {"input_ids": x["input_ids"].clamp(max=0).index_fill(1, torch.tensor([0]), 9999)}, 1)


def test_longer_texts_are_cut_and_it_is_said() -> None:
    stored = learned(length=3).store(TEXTS)
    assert stored.notices == ["6 of 6 texts are longer than 3 tokens, and were cut off."]
    assert stored.x["attention_mask"].all()


def test_a_tokenizer_of_others_adds_its_own_tokens_also_where_it_cuts(tmp_path: Path) -> None:
    words = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "where": 4, "is": 5, "my": 6, "card": 7}
    made = library.Tokenizer(library.models.WordLevel(words, "[UNK]"))
    made.pre_tokenizer = library.pre_tokenizers.Whitespace()
    made.post_processor = library.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    made.enable_padding(length=99)  # what a file says of padding and length gives way to the format
    made.enable_truncation(2)
    made.save(str(tmp_path / "tokenizer.json"))
    for place in (tmp_path, tmp_path / "tokenizer.json"):
        format = formats.make("text", tokenizer=str(place), length=5)
        ids = format.store(["where is my card", "card"]).x["input_ids"]
        assert ids.tolist() == [[1, 4, 5, 6, 2], [1, 7, 2, 0, 0]]
    assert format.learn(TEXTS) == format and format.layout["input_ids"].below == 8
    with pytest.raises(ConfigError, match="length must be more than the 2 tokens"):
        formats.make("text", tokenizer=str(tmp_path), length=2).store("card")
    with pytest.raises(ConfigError, match="There is no tokenizer .*gone"):
        formats.make("text", tokenizer=str(tmp_path / "gone"))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"tokenizer\.json holds no tokenizer"):
        formats.make("text", tokenizer=str(tmp_path))


def test_strings_columns_and_files_are_the_same_texts(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    format = learned()
    for i, text in enumerate(TEXTS):
        (tmp_path / f"class{i % 2}").mkdir(exist_ok=True)
        (tmp_path / f"class{i % 2}" / f"{i}.txt").write_text(text + "\n", encoding="utf-8-sig")
    records = format.find(tmp_path)
    assert records.labels == ["class0"] * 3 + ["class1"] * 3
    expected = format.store(TEXTS[::2] + TEXTS[1::2]).x
    for held in (records.items, pandas.Series(TEXTS[::2] + TEXTS[1::2]), tuple(TEXTS[::2] + TEXTS[1::2])):
        assert all(torch.equal(value, expected[name]) for name, value in format.store(held).x.items())


def test_groups_labels_and_places_come_from_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("who,question,intent\nann,where?,card\nbob,when?,\n")
    format = formats.make("text", text="question", label="intent", group="who")
    with pytest.raises(DataError, match=r"a\.csv, line 3: the label is missing"):
        format.find(path)
    path.write_text("who,question,intent\nann,where?,card\nbob,  ,card\n")
    records = format.find(path)
    assert (records.labels, records.groups) == (["card", "card"], ["ann", "bob"])
    with pytest.raises(DataError, match=r"a\.csv, line 3: the text is empty"):
        format.learn(records.items)
    stored = format.learn(records.items, "skip").store(records.items, "skip")
    assert stored.kept == [0] and "1 unreadable texts left out" in stored.notices[0]
    with pytest.raises(DataError, match=r"no column 'text'.*\['who', 'question', 'intent'\]"):
        formats.make("text").find(path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", r"1\.txt: the text is empty"),
        (b"\n \n", "the text is empty"),
        ("naïve".encode("latin-1"), "no text in UTF-8"),
    ],
)
def test_files_that_hold_no_text_are_named(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_bytes(data)
    format = learned()
    with pytest.raises(DataError, match=said):
        format.store(format.find(tmp_path, labelled=False).items)


def test_what_is_no_text_is_refused() -> None:
    format = learned()
    for wrong, said in (([3], "Text 0 is no string but int"), (["a", "\ud800"], "Text 1: .* is not Unicode")):
        with pytest.raises(DataError, match=said):
            format.store(wrong)
    with pytest.raises(ShapeError, match="found int"):
        format.store(3)
    with pytest.raises(ConfigError, match=r"no tokenizer yet.*format\.learn"):
        formats.make("text").store("where?")
    with pytest.raises(ConfigError, match="at least 300"):
        formats.make("text", vocabulary=20)


def test_words_of_a_command_are_files_or_texts(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\nwhere?\nwhen?\n")
    format = learned()
    records = format.given([str(tmp_path / "a.csv"), "who is it?", "x" * 5000])
    assert list(records.items) == ["where?", "when?", "who is it?", "x" * 5000]
    with pytest.raises(DataError, match=r"There is no file .*b\.csv"):
        format.given([str(tmp_path / "b.csv")])


def test_as_many_tokens_are_hidden_as_was_said_and_never_the_first() -> None:
    format = learned()
    x = format.features(format.store(TEXTS * 200).x)
    keys = rng.split(rng.key(0, "test"), len(x["attention_mask"]))
    seen = format.distorted(x, keys, TextAugment(drop=0.3))
    assert torch.equal(seen["input_ids"], x["input_ids"]) and bool(seen["attention_mask"][:, 0].all())
    before, after = x["attention_mask"][:, 1:].sum(), seen["attention_mask"][:, 1:].sum()
    assert abs(1 - float(after / before) - 0.3) < 0.02
    assert bool((seen["attention_mask"] <= x["attention_mask"]).all())
    again = format.distorted({name: value[5:7] for name, value in x.items()}, keys[5:7], TextAugment(drop=0.3))
    assert torch.equal(again["attention_mask"], seen["attention_mask"][5:7])


def test_not_all_tokens_can_be_hidden() -> None:
    with pytest.raises(ConfigError, match=r"drop must lie in \[0, 1\), found 1"):
        TextAugment(drop=1.0)


def test_a_path_is_all_texts_that_are_there_and_no_table_is_read_as_one_text(tmp_path: Path) -> None:
    format, rows = learned(), tmp_path / "a.csv"
    rows.write_text("text\nwhere?\nwhen?\n")
    (tmp_path / "b").mkdir()
    for name, text in (("1.txt", "where?"), ("2.txt", "when?")):
        (tmp_path / "b" / name).write_text(text)
    expected = format.store(["where?", "when?"]).x["input_ids"]
    for place in (rows, tmp_path / "b"):
        assert torch.equal(format.store(place).x["input_ids"], expected)
    with pytest.raises(DataError, match=r"a\.csv holds rows.*Give it by itself"):
        format.store([rows, tmp_path / "b" / "1.txt"])
    (tmp_path / "c.json").write_text('[{"text": "where?"}, {"text": "when?"}]')
    for held in ([tmp_path / "c.json"], format.given([str(tmp_path / "c.json")]).items):
        with pytest.raises(DataError, match=r"c\.json is read neither as rows .* nor as a text"):
            format.store(held)
    with pytest.raises(ShapeError, match=r"has the tensors 'text', expected 'input_ids'"):
        format.store({"text": "where?"})


@pytest.mark.parametrize("word", ["./b/", "b/", "../b", "~/b", "b.xlsx", "b.json", "my b.csv"])
def test_words_that_are_meant_as_places_are_no_texts(word: str) -> None:
    with pytest.raises(DataError, match="There is no file .*Check the path"):
        learned().given([word])
    words = ["and/or", "/help", "./b is wrong", "mail.me", "where is ../b?"]
    assert list(learned().given(words).items) == words


def test_columns_lists_and_paths_of_texts_are_one_source_and_names_of_files_none(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    labels = [f"class {i % 6}" for i in range(24)]
    words = [f"{label} is number {i}" for i, label in enumerate(labels)]
    (tmp_path / "a.csv").write_text("text\n" + "\n".join(words) + "\n")
    expected = arrays(words, labels).pool.x
    for held, format in (
        (pandas.Series(words), None), (np.array(words), None), (np.array(words, dtype=object), None),
        (tmp_path / "a.csv", formats.make("text")),
    ):  # fmt: skip
        found = arrays(held, labels, format=format).pool.x
        assert isinstance(found, dict) and isinstance(expected, dict)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    with pytest.raises(ConfigError, match=r"x names files, such as .*Say what they hold"):
        arrays([str(tmp_path / "a.csv")] * 24, labels)
