"""Tasks from texts with labels: rows of a file, or files in one folder for each class."""

from __future__ import annotations

import os
from typing import Any

from quickstudy.formats.records import Broken
from quickstudy.formats.rows import READERS
from quickstudy.formats.text_augment import TextAugment
from quickstudy.hints import Size
from quickstudy.registry import formats, sources, targets
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.divide import named_in
from quickstudy.tasks.folder import class_folders_source, column_or_pattern, learned
from quickstudy.tasks.groups import Rule


def _settled(**options: Any) -> dict[str, Any]:
    """With the tokenizer that the training texts teach, and the whole paths of what is no place of data."""
    told = {"splits": os.path.abspath(options["splits"]) if options["splits"] else ""}
    if options["tokenizer"]:
        given = options["tokenizer"]
        return options | told | {"tokenizer": os.path.abspath(given) if os.path.exists(given) else given}
    at, val, test, seed, broken = (options[name] for name in ("path", "val", "test", "split_seed", "broken"))
    named, classes = named_in(options["splits"]), targets.make("classes")
    format: Any = learned(_format(**options), at, val, test, seed, broken, classes, named, options["min_class"])[0]
    return options | told | {"tokenizer": format.tokenizer}


def _format(**options: Any) -> Any:
    names = ("text", "label", "group", "tokenizer", "vocabulary", "length")
    return formats.make("text", **{name: options[name] for name in names})


@sources.register("text", data="a file of texts", places=("path",), settle=_settled)
def text(
    *,
    path: str,
    text: str = "text",
    label: str = "label",
    group: str = "",
    tokenizer: str = "",
    vocabulary: Size = 4096,
    length: Size = 64,
    splits: str = "",
    val: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
    broken: Broken = "refuse",
    groups: Rule = "apart",
    min_class: int = 0,
    drop: float = 0.0,
) -> ClassSource:
    """Your own texts: rows with a text and a label, or a folder for each class.

    path: a file (.csv, .jsonl, .parquet), a folder that `save_to_disk` of the library datasets wrote, a data set of the
        Hugging Face hub ('hf://OWNER/NAME/SPLIT'), or a folder with a sub-folder of .txt files for each class. A folder
        with a file, or a folder, called 'train' holds the splits: 'train', 'val' and 'test', with classes of their own;
        one that is missing is cut from the training classes.
    text, label: the columns of the text and of its class.
    group: the column of what texts belong to, such as their writer; of files, a pattern (a regular expression) in their
        names below `path`. groups: whether no group is in both support and query of a task ('apart'), or each task is
        of one group ('within').
    min_class: classes with fewer texts are left out, which is said.
    tokenizer: a tokenizer.json, or the folder of the model that the texts are for; if not given, the texts of the
        training classes teach one, of at most `vocabulary` tokens.
    vocabulary: how many tokens are learned at most. length: the most tokens of a text; the rest of it is cut off.
    splits: a JSON file that names the labels of each split: {"train": […], "val": […], "test": […]}.
    val, test: shares of the classes that are held out, at random by `split_seed`, where nothing names them.
    split_seed: which these are.
    drop: the probability with which a token of a training text is hidden from the network.
    broken: whether a text that cannot be read, or is empty, stops everything ('refuse') or is left out ('skip').

    Raises DataError, naming file and line, for texts that are empty or not in UTF-8, and for labels that are missing.
    """
    held, pattern = column_or_pattern(path, tuple(READERS), group)
    format = _format(text=text, label=label, group=held, tokenizer=tokenizer, vocabulary=vocabulary, length=length)
    named = named_in(splits)
    return class_folders_source(
        format, path, val, test, split_seed, broken, augmentation=TextAugment(drop), splits=named, min_class=min_class,
        group=pattern, groups=groups,
    )  # fmt: skip
