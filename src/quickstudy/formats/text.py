"""Texts as ids of tokens, in any script."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Features, State, map_features
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.formats.base import Format
from quickstudy.formats.drawing import Drawing, Text
from quickstudy.formats.layout import Leaf
from quickstudy.formats.leaving import shares
from quickstudy.formats.received import Most, text_of
from quickstudy.formats.records import Broken, Records, Stored, all_kept
from quickstudy.formats.rows import READERS, groups_in, labels_of, read_rows, rows_or_files
from quickstudy.formats.strings import OTHERS, cell, place_of, read
from quickstudy.formats.text_augment import TextAugment, hidden
from quickstudy.formats.tokens import Encoder, encoder, learned_tokenizer, tokenizer_in
from quickstudy.hints import Size, Within
from quickstudy.registry import formats

_IDS, _MASK = "input_ids", "attention_mask"
_SUFFIXES = (".txt",)
_BATCH = 1024
_SHORT = torch.iinfo(torch.int16).max


@formats.register("text")
@dataclass(frozen=True, kw_only=True)
class Tokens(Format):
    """Texts as `input_ids` (n, length) and `attention_mask` (n, length), which is 1 where a token is. Extra 'text'.

    In memory: strings, in a list or a column of a data frame. As files: rows with a column of texts (CSV, JSON Lines,
    Parquet, a folder that `save_to_disk` of the library datasets wrote), or one .txt for each text, in one sub-folder
    for each class; a path that is meant as a file is a `Path`.

    length: the most tokens; of longer texts the rest is cut off, and it is said of how many. tokenizer: a file
    tokenizer.json of the library tokenizers, or the folder of a model that holds one, or its JSON, which it becomes; if
    not given, the training texts teach one, of at most `vocabulary` tokens. text, label, group: columns of the text, of
    its label, and of what texts belong to, such as their writer.
    """

    length: Annotated[int, Within(1, 1 << 16)] = 64
    tokenizer: str = field(default="", repr=False)
    vocabulary: Size = 4096
    text: str = "text"
    label: str = "label"
    group: str = ""

    what = "texts"
    medium = "text"
    place = "text"
    row_files = tuple(READERS)
    distortion = TextAugment

    def __post_init__(self) -> None:
        if self.tokenizer and not self.tokenizer.startswith("{"):
            object.__setattr__(self, "tokenizer", tokenizer_in(self.tokenizer))
        if not self.tokenizer and self.vocabulary < 300:
            raise ConfigError(
                f"vocabulary must be at least 300, of which 256 are single bytes; found {self.vocabulary}."
            )

    @property
    def encoder(self) -> Encoder:
        """The tokenizer; ConfigError where there is none yet."""
        if not self.tokenizer:
            raise ConfigError(
                "These texts have no tokenizer yet. Give one (tokenizer=…), or let training texts teach one: "
                "format = format.learn(texts)."
            )
        return encoder(self.tokenizer, self.length)

    @property
    def layout(self) -> Mapping[str, Leaf]:
        ids = self.encoder.vocabulary if self.tokenizer else None
        shape = (self.length,)
        return {_IDS: Leaf(shape, torch.int64, ids), _MASK: Leaf(shape, torch.int64, 2)}

    def __str__(self) -> str:
        return f"texts of up to {self.length} tokens"

    def find(self, place: Any, labelled: bool = True) -> Records:
        """The texts at a place. `place` may also be a data frame or a data set in memory."""
        return rows_or_files(place, labelled, self._rows, _SUFFIXES, self.what)

    def _rows(self, place: Any, labelled: bool) -> Records:
        rows = read_rows(place)
        texts = rows.column(self.text, "where you train: --tasks.text; where you adapt: --text")
        if not texts:
            raise DataError(f"{rows.place} has no rows. Write one for each text.")
        items = [cell(text, where) for text, where in zip(texts, rows.places, strict=True)]
        return Records(
            items, rows.places, labels_of(rows, self.label) if labelled else None, groups_in(rows, self.group)
        )

    def given(self, words: Sequence[str]) -> Records:
        """Places, and where nothing is at a place, texts that are written there."""
        parts = []
        for word in words:
            if os.path.exists(word):
                parts.append(self.find(word, labelled=False))
            elif _meant_as_place(word):
                raise DataError(f"There is no file {word}. Check the path.")
            else:
                parts.append(Records([word], [word]))
        return Records.joined(parts)

    def of_names(self, names: Sequence[str], template: str = "{}") -> Any:
        """The names as texts, with spaces for what joins words: 'card_arrival' is 'card arrival'."""
        if template.count("{}") != 1:
            raise ConfigError(f"The template must hold {{}} once, where the name stands, found {template!r}.")
        return [template.replace("{}", " ".join(name.replace("_", " ").split())) for name in names]

    def learn(self, records: Any, broken: Broken = "refuse") -> Format:
        if self.tokenizer:
            return self
        texts, _, _ = read(self._items(records), broken)
        return replace(self, tokenizer=learned_tokenizer(texts, self.vocabulary))

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        """Texts as ids (n, length), int16 or int32, and a mask. One string is one text; a `Path`, all texts there."""
        if isinstance(records, Mapping):
            return all_kept(self._compact(records))
        texts, kept, left_out = read(self._items(records), broken)
        made = self.encoder
        dtype = torch.int16 if made.vocabulary <= _SHORT else torch.int32
        ids = torch.full((len(texts), self.length), made.padding, dtype=dtype)
        mask = torch.zeros((len(texts), self.length), dtype=torch.bool)
        cut, wordless = 0, []
        for start in range(0, len(texts), _BATCH):
            for row, one in enumerate(made.tokenizer.encode_batch(texts[start : start + _BATCH]), start):
                count = len(one.ids)
                ids[row, :count] = torch.tensor(one.ids, dtype=dtype)
                mask[row, :count] = True
                cut += bool(one.overflowing)
                if count == made.special:
                    wordless.append(row)
        if wordless:
            said = [
                f"{place_of(texts[i], kept[i])}: the text {texts[i]!r:.60} gives no token. Take it out."
                for i in wordless
            ]
            if broken == "refuse":
                raise DataError(said[0])
            left_out += said
            rows = [row for row in range(len(texts)) if row not in set(wordless)]
            ids, mask, kept = ids[rows], mask[rows], [kept[row] for row in rows]
        notices = (
            [f"{cut} of {len(texts)} texts are longer than {self.length} tokens, and were cut off."] if cut else []
        )
        if left_out:
            notices.append(f"{len(left_out)} unreadable texts left out: {' '.join(left_out)}")
        return Stored({_IDS: ids, _MASK: mask}, kept, notices)

    def _items(self, records: Any) -> Any:
        """The texts at a place, where records are one."""
        return self.find(records, labelled=False).items if isinstance(records, Path) else records

    def _compact(self, records: Mapping[str, Any]) -> Features:
        """Tensors that are ids and a mask already."""
        tensors = {name: torch.as_tensor(value) for name, value in self.named(dict(records)).items()}
        for name, tensor in tensors.items():
            if tensor.is_floating_point():
                raise ShapeError(f"x[{name!r}] must be whole numbers, found {tensor.dtype}. Convert it.")
        dtype = torch.int16 if self.tokenizer and self.encoder.vocabulary <= _SHORT else torch.int32
        return {_IDS: tensors[_IDS].to(dtype), _MASK: tensors[_MASK].bool()}

    def received(self, record: Any, most: Most) -> Any:
        return text_of(record, most)

    def sent(self, stored: Features) -> list[Any]:
        """What the tokens say, as `draw` shows it."""
        assert isinstance(stored, Mapping)
        shown = (self.draw({name: one[i] for name, one in stored.items()}) for i in range(len(stored[_IDS])))
        return [one.text for one in shown if isinstance(one, Text)]

    def features(self, stored: Features, fitted: State | None = None) -> Features:
        return map_features(lambda t: t.to(torch.int64), stored)

    def reading(self, fitted: State) -> dict[str, Any]:
        made = self.encoder
        of = {"length": self.length, "padding": made.padding, "vocabulary": made.vocabulary}
        return {"kind": "text", **of, "tokenizer": json.loads(self.tokenizer)}

    def entering(self, stored: Features, fitted: State) -> dict[str, Tensor]:
        assert isinstance(stored, Mapping)
        return {_IDS: stored[_IDS].to(torch.int32), _MASK: stored[_MASK].bool()}

    def entered(self, given: Mapping[str, Tensor], fitted: State) -> Features:
        return self.features(dict(given))

    def tried(self, key: Tensor, count: int, fitted: State) -> dict[str, Tensor]:
        """Tokens at random, of all lengths."""
        made = self.encoder
        mask = torch.arange(self.length) < shares(rng.fold(key, 0), count, self.length)[:, None]
        ids = rng.integers(rng.fold(key, 1), made.vocabulary, (count, self.length))
        return {_IDS: torch.where(mask, ids, made.padding).to(torch.int32), _MASK: mask}

    def distorted(self, x: Features, keys: Tensor, how: TextAugment) -> Features:
        """Some tokens are hidden from the network, see `TextAugment`."""
        tensors = self.named(x)
        return tensors | {_MASK: hidden(tensors[_MASK], keys, how)}

    @property
    def example(self) -> str:
        return "text"

    def draw(self, x: Features) -> Drawing | None:
        """What the tokens say: in lower case, and without what was cut off, if the tokenizer makes it so."""
        assert isinstance(x, Mapping)
        there: Tensor = x[_IDS][x[_MASK] > 0]
        return Text(self.encoder.tokenizer.decode(there.tolist(), skip_special_tokens=True).strip())


def _meant_as_place(word: str) -> bool:
    """Whether a word of a command names a file or a folder, rather than being a text."""
    if Path(word).suffix.lower() in (*READERS, *_SUFFIXES, *OTHERS):
        return True
    return len(word.split()) == 1 and (word.endswith(os.sep) or word.startswith(("./", "../", "~/")))
