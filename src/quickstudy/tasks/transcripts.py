"""Tasks of recordings with transcripts: the utterances of one speaker each."""

from __future__ import annotations

from typing import Any

from quickstudy.errors import ConfigError
from quickstudy.formats.places import column
from quickstudy.formats.records import Broken
from quickstudy.formats.rows import Rows, holds_rows, labels_of, read_rows
from quickstudy.hints import Size
from quickstudy.registry import formats, sources, targets
from quickstudy.tasks.base import Source
from quickstudy.tasks.records import of_groups


def _settled(**options: Any) -> dict[str, Any]:
    """With the tokens of all texts, so that they stay what a network's outputs stand for when the file changes."""
    if options["tokens"]:
        return options
    rows = _rows(options["path"], options["file"], options["text"], options["speaker"])
    target = targets.make("sequence", words=options["words"])
    return options | {"tokens": target.learn(labels_of(rows, options["text"], "--tasks.text")).tokens}


def _rows(path: str, *columns: str) -> Rows:
    """The rows of a file that has the columns of the recording, of its text and of who speaks."""
    file, text, speaker = columns
    if not holds_rows(path):
        raise ConfigError(
            f"{path} is no file of rows (.csv, .jsonl, .parquet). Write one with the columns {file!r}, {text!r} and "
            f"{speaker!r}; recordings of single words, in a folder for each, are the tasks 'utterances'."
        )
    rows = read_rows(path)
    for option, name in zip(("file", "text", "speaker"), columns, strict=True):
        column(rows.columns, name, path, f"--tasks.{option}")
    return rows


@sources.register(
    "transcripts", data="a file of recordings and what is said in them", places=("path",), settle=_settled
)
def transcripts(
    *,
    path: str,
    file: str = "file",
    text: str = "text",
    speaker: str = "speaker",
    words: bool = False,
    tokens: tuple[str, ...] = (),
    rate: int = 16000,
    seconds: float = 6.0,
    mels: int = 40,
    stride: Size = 4,
    val: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
    broken: Broken = "refuse",
) -> Source:
    """Your own recordings with transcripts: rows of files, texts and speakers.

    Each task is one speaker: some recordings to learn the voice from, and others to be written down. Extra 'audio'.

    path: a file (.csv, .jsonl, .parquet); the recordings' names are relative to its folder.
    file, text, speaker: the columns of the recording, of its transcript, and of who speaks, or which session it is.
    words: whether texts are made of whole words, which must be few, or of characters, as they are written.
    tokens: these words or characters; if not given, those of all texts.
    rate: samples a second. seconds: the longest recording; longer ones are refused. mels: bands of frequencies.
    stride: frames, of 0.01 s each, from one position at which something is said to the next.
    val, test: shares of the speakers that are held out, at random by `split_seed`.
    split_seed: which these are.
    broken: whether a recording that cannot be read stops everything ('refuse') or is left out ('skip').

    Raises DataError, naming file and line, for recordings that are not there and texts that are missing or too long.
    """
    _rows(path, file, text, speaker)
    format: Any = formats.make(
        "audio", rate=rate, seconds=seconds, mels=mels, longer="refuse", file=file, label=text, group=speaker
    )
    target = targets.make("sequence", positions=-(-format.layout["x"].shape[-1] // stride), words=words, tokens=tokens)
    return of_groups(format, target, path, val, test, split_seed, broken)
