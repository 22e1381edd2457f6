"""Tasks from recordings with labels: files in one folder for each class, or rows that name them."""

from __future__ import annotations

from typing import Literal

from quickstudy.formats.records import Broken
from quickstudy.formats.rows import READERS
from quickstudy.formats.sound_augment import SoundAugment
from quickstudy.registry import formats, sources
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.folder import class_folders_source, column_or_pattern
from quickstudy.tasks.groups import Rule


@sources.register("audio", data="a folder of recordings", places=("root",))
def audio(
    *,
    root: str,
    rate: int = 16000,
    seconds: float = 1.0,
    mels: int = 40,
    normalise: Literal["band", "clip", "none"] = "band",
    trim: float = 0.0,
    val: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
    broken: Broken = "refuse",
    file: str = "file",
    label: str = "label",
    min_class: int = 0,
    group: str = "",
    groups: Rule = "apart",
    symmetries: int = 1,
    shift: float = 0.0,
    speed: float = 0.0,
    gain: float = 0.0,
    noise: float = 0.0,
    stretch: float = 0.0,
    warp: float = 0.0,
    time_mask: float = 0.0,
    mel_mask: float = 0.0,
) -> ClassSource:
    """Your own recordings: a sub-folder for each class, or rows that name them.

    WAV, FLAC, OGG, MP3 … files of any rate become log-mel spectrograms (1, mels, frames) of a window of `seconds`; see
    the format `audio`. What was converted or left out is said once, through logging. Extra 'audio'.

    root: the folder, or a file of rows (.csv, .jsonl, .parquet) beside the recordings. If the folder has a sub-folder,
        or such a file, called 'train', then 'train', 'val' and 'test' hold the classes of the splits, and a split that
        is missing is cut from the training classes; otherwise all splits are.
    file, label: the columns of the recording's name and of its class, where there are rows.
    rate: samples a second, to which all is brought; take that of your recordings, or less.
    seconds: of the window; of longer recordings the loudest window is taken.
    mels: bands of frequencies; 0 gives the samples themselves.
    normalise: every recording to one loudness, mean and spread: by 'band' for words, which takes out microphones and
        rooms, by 'clip' for sounds that last, such as machines and voices, or 'none'.
    trim: decibels below the loudest frame; what is softer at both ends of a recording is cut off. 25 for words, 0 for
        nothing.
    val, test: shares of the classes that are held out, at random by `split_seed`.
    split_seed: which classes these are.
    broken: whether a recording that cannot be read stops everything ('refuse') or is left out ('skip').
    min_class: classes with fewer recordings are left out, which is said.
    group: a pattern (a regular expression) in the names of files below `root` that says who speaks, or which session it
        is: '(s[0-9]+)_'; of rows, the column that says so. groups: whether no group is in both support and query of a
        task ('apart'), or each task is of one group ('within').
    symmetries: 2 adds recordings that are played backwards as training classes of their own.
    shift, speed, gain, noise, stretch, warp, time_mask, mel_mask: distortion of training recordings; see `SoundAugment`
        for the units.

    Raises DataError, naming file or class, for broken recordings, empty folders and too few classes.
    """
    held, pattern = column_or_pattern(root, tuple(READERS), group)
    format = formats.make(
        "audio", rate=rate, seconds=seconds, mels=mels, normalise=normalise, trim=trim, file=file, label=label,
        group=held,
    )  # fmt: skip
    augmentation = SoundAugment(shift, speed, gain, noise, stretch, warp, time_mask, mel_mask)
    return class_folders_source(
        format, root, val, test, split_seed, broken, symmetries, augmentation,
        min_class=min_class, group=pattern, groups=groups,
    )  # fmt: skip
