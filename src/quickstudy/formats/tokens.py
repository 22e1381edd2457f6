"""Tokenizers of the library `tokenizers`, as JSON: read from files, or learned from texts in any script."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from quickstudy.errors import ConfigError, MissingExtra

FILE = "tokenizer.json"
_PADDING = ("[PAD]", "<pad>", "<|padding|>", "<|pad|>")
_PIECES = r" ?\p{Han}| ?[\p{L}\p{M}]+| ?\p{N}| ?[^\s\p{L}\p{M}\p{N}]+|\s+"
"""What merges stay within: one Chinese character, as there are no spaces between words; letters with their marks; one
digit; signs. A space belongs to what follows it."""


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise MissingExtra("tokenizers", "text", "The format 'text'") from error
    return tokenizers


def tokenizer_in(place: str | Path) -> str:
    """The JSON of a tokenizer: of a file `tokenizer.json`, or of the folder of a model that holds one.

    Raises ConfigError, naming the file, where there is none or where the library cannot read it.
    """
    path = Path(place)
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise ConfigError(
            f"There is no tokenizer {path}. Give a {FILE} of the library tokenizers, or the folder of a model that has "
            "one; without one, a tokenizer is learned from the training texts."
        )
    try:
        made: str = _tokenizers().Tokenizer.from_file(str(path)).to_str()
    except MissingExtra:
        raise
    except Exception as error:  # the library raises plain Exception
        raise ConfigError(f"{path} holds no tokenizer of the library tokenizers ({error}). Give another.") from error
    return made


def learned_tokenizer(texts: Sequence[str], size: int) -> str:
    """The JSON of a tokenizer of at most `size` tokens that these texts teach; the same texts teach the same.

    Byte-pair encoding (Sennrich et al. 2016) of the bytes of UTF-8, so that there is no text without tokens, in lower
    case and in Unicode's NFKC.
    """
    library = _tokenizers()
    parts, split = library.normalizers, library.pre_tokenizers
    made = library.Tokenizer(library.models.BPE())
    space = parts.Replace(library.Regex(r"\s+"), " ")
    made.normalizer = parts.Sequence([parts.NFKC(), parts.Lowercase(), space, parts.Strip(), parts.Prepend(" ")])
    pieces = split.Split(library.Regex(_PIECES), "isolated")
    made.pre_tokenizer = split.Sequence([pieces, split.ByteLevel(add_prefix_space=False, use_regex=False)])
    made.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=[_PADDING[0]],
        initial_alphabet=sorted(split.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    told: str = made.to_str()
    return told


class Encoder(NamedTuple):
    """A tokenizer that cuts texts off at some length. special: how many of the tokens it adds to every text.

    vocabulary: ids lie below it. padding: the id where no token is.
    """

    tokenizer: Any
    special: int
    vocabulary: int
    padding: int


@lru_cache(32)
def encoder(tokenizer: str, length: int) -> Encoder:
    """The tokenizer of this JSON, for texts of up to `length` tokens; ConfigError where it is none or none fit."""
    try:
        made = _tokenizers().Tokenizer.from_str(tokenizer)
    except MissingExtra:
        raise
    except Exception as error:  # the library raises plain Exception
        raise ConfigError(f"A tokenizer cannot be made of {tokenizer!r:.80} ({error}). Give another.") from error
    special = made.num_special_tokens_to_add(False)
    if length <= special:
        raise ConfigError(f"length must be more than the {special} tokens that are in every text, found {length}.")
    ids = made.get_vocab(with_added_tokens=True)
    told = (made.padding or {}).get("pad_id")
    padding = next((ids[name] for name in _PADDING if name in ids), 0) if told is None else told
    made.no_padding()
    made.enable_truncation(length)
    return Encoder(made, special, max([*ids.values(), padding]) + 1, padding)
