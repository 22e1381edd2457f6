"""Texts in the page: the same tokens as in Python."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from quickstudy.formats.text import Tokens
from tests.web.node_runs import needs_node, node

tokenizers = pytest.importorskip("tokenizers")

TEXTS = [
    "Where is my card? It hasn't arrived yet…", "  Two   spaces\tand\u00a0more\u3000", "ΑΣ ΟΔΥΣΣΕΥΣ İstanbul STRASSE ß",
    "我的卡在哪里？我想知道。", "カードが届きません ｶｰﾄﾞ", "نص عربي مع أرقام ١٢٣", "ﬁne ½ ² ™ Å Å é", "👩‍👩‍👧 emoji 🇩🇪!",
    "x=1_000; a->b", "हिन्दी में लिखा", "[PAD] within [CLS] a text", "\u0085next line\u200bzero\ufeffwidth", "a", "…",
    "1234567890 12.5%", "naïve café", "한국어 텍스트",
]  # fmt: skip
SCRAPS = [
    "card", " ", "\n", "Ж", "é", "é", "中", "1", "٣", "?", "'s", "-", "😀", "ſ", "Ⅷ", "\u200d", "ं", "ABC", "[PAD]",
]  # fmt: skip


def texts() -> list[str]:
    draw = random.Random(0)
    made = ["".join(draw.choices(SCRAPS, k=draw.randint(1, 60))) for _ in range(1000)]
    return TEXTS + [one for one in made if one.strip(" \n")]


def learned() -> Any:
    return Tokens(length=24).learn(TEXTS * 2)


def pieces() -> Any:
    library = tokenizers
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = [*special, "where", "is", "my", "card", "##s", "it", "a", "##a", "1", "##2", "é", "?"]
    made = library.Tokenizer(library.models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer = library.normalizers.BertNormalizer()
    made.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    made.post_processor = library.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.add_special_tokens(["[PAD]", "[CLS]", "[SEP]"])
    return Tokens(length=20, tokenizer=made.to_str())


def spaced() -> Any:
    library = tokenizers
    made = library.Tokenizer(library.models.BPE())
    made.pre_tokenizer = library.pre_tokenizers.ByteLevel()
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(TEXTS, library.trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))
    return Tokens(length=40, tokenizer=made.to_str())


@needs_node
@pytest.mark.parametrize("make", [learned, pieces, spaced])
def test_tokens_are_those_of_python(make: Any, tmp_path: Path) -> None:
    format = make()
    asked = texts()
    if make is pieces:  # where a text may give no token
        asked = [one for one in asked if len(format.encoder.tokenizer.encode(one).ids) > 2]
    reading = {
        "length": format.length, "padding": format.encoder.padding, "tokenizer": json.loads(format.tokenizer),
    }  # fmt: skip
    found = node(
        tmp_path,
        """
        const { textReader } = await lib("text.js");
        const { leaves } = textReader(given.reading)(given.texts);
        return [Array.from(leaves.input_ids.data), Array.from(leaves.attention_mask.data)];
        """,
        reading=reading,
        texts=asked,
    )
    stored = format.store(asked).x
    ids = stored["input_ids"].reshape(-1, format.length).tolist()
    mask = stored["attention_mask"].int().flatten().tolist()
    rows = [found[0][i : i + format.length] for i in range(0, len(found[0]), format.length)]
    wrong = [(text, a, b) for text, a, b in zip(asked, rows, ids, strict=True) if a != b]
    assert not wrong, f"{len(wrong)} of {len(asked)} differ, first {wrong[0]}"
    assert found[1] == mask


@needs_node
def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    format = learned()
    found = node(
        tmp_path,
        r"""
        const { textReader } = await lib("text.js");
        const read = textReader(given.reading);
        return ["", " \n\u3000", 5, "\ud800x"].map((one) => {
          try { read(["fine", one]); } catch (error) { return [error.code, error.message]; }
        });
        """,
        reading={"length": 8, "padding": 0, "tokenizer": json.loads(format.tokenizer)},
    )
    assert [code for code, _ in found] == ["empty", "empty", "no_text", "no_text"]
    assert all(message.startswith("Text 1") for _, message in found)
