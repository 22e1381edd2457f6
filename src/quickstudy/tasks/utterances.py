"""Tasks of connected speech: recordings of single words, joined to utterances of one speaker."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal
from unicodedata import normalize

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, Examples, map_features, named
from quickstudy.errors import ConfigError, DataError
from quickstudy.formats.distortion import Distortion
from quickstudy.formats.places import class_folders
from quickstudy.formats.records import Broken, say
from quickstudy.formats.sound_augment import SoundAugment
from quickstudy.hints import Size
from quickstudy.registry import formats, sources, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling, Source, presence
from quickstudy.tasks.divide import named_in, named_splits, split_classes
from quickstudy.tasks.groups import groups_of
from quickstudy.tasks.spelling import ids_of, parts_of, tokens_of
from quickstudy.tasks.spoken import Spoken
from quickstudy.tasks.stored import read, say_doubles

_SAMPLING = Sampling(ways=1, shots=5, queries=10)
_PLAIN = Distortion()
_EVERYONE = "everyone"
New = Literal["speakers", "words"]
_SPEAKER, _SIZES, _VOICE, _DRAW, _AUGMENT = range(5)


@dataclass(frozen=True, kw_only=True)
class UtteranceSource(Source):
    """Each task is K + Q utterances of one speaker. No recording of a word is in both support and query.

    pool: the recordings. ids: (words, L) int64, the tokens of each word, 0 after them. spaced: the last of them is a
    space, which an utterance does not end with. words: fewest and most in an utterance. gap: fewest and most samples
    between them. splits: of speakers, or of words, as `new` says. voices: see `utterances`.
    """

    pool: Spoken
    ids: Tensor
    spaced: bool
    words: tuple[int, int]
    gap: tuple[int, int]
    splits: Mapping[str, Tensor]
    spec: TaskSpec
    new: New = "speakers"
    voices: float = 0.0
    augmentation: Distortion = _PLAIN
    sampling: Sampling = _SAMPLING
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def sampled(self, sampling: Sampling) -> UtteranceSource:
        return replace(self, sampling=replace(sampling, ways=1, min_ways=None))

    def seeded(self, seed: int) -> UtteranceSource:
        return replace(self, seed=seed)

    def plain(self) -> UtteranceSource:
        return replace(self, augmentation=_PLAIN, voices=0.0)

    def to(self, device: torch.device | str) -> UtteranceSource:
        return replace(self, pool=self.pool.to(device), ids=self.ids.to(device), device=torch.device(device))

    def classes(self, split: str) -> list[str]:
        """The names of the speakers, or words: one that was trained on is not a new one."""
        names = self.pool.speakers if self.new == "speakers" else self.pool.words
        return [names[index] for index in self.splits[split].tolist()]

    def check(self, split: str) -> None:
        self._drawable(split)

    @cached_property
    def _checked(self) -> dict[str, tuple[Tensor, Tensor]]:
        """What `_drawable` has found, which does not change from one batch to the next."""
        return {}

    def _drawable(self, split: str) -> tuple[Tensor, Tensor]:
        """The speakers of a split, (S,), and which words (every speaker, W) can be on both sides of a task of it."""
        if split in self._checked:
            return self._checked[split]
        self.known(split)
        own = self.splits[split].to(self.device)
        if not len(own):
            raise DataError(f"The split {split!r} has no {self.new}. Add some, or raise its share.")
        speakers, allowed = own, self.pool.counts >= 2
        if self.new == "words":
            named = torch.zeros(allowed.shape[1], dtype=torch.bool, device=self.device).index_fill(0, own, True)
            allowed = allowed & named
            speakers = allowed.any(1).nonzero().flatten()
        poor = speakers[~allowed[speakers].any(1)]
        if len(poor):
            raise DataError(
                f"The speaker {self.pool.speakers[int(poor[0])]!r} of the split {split!r} has no word with two "
                "recordings, one to learn from and one to be asked about. Record more, or leave that speaker out."
            )
        self._checked[split] = speakers, allowed
        return speakers, allowed

    def episodes(self, split: str, indices: Tensor) -> Episode:
        speakers, allowed = self._drawable(split)
        shots, each = self.sampling.shots, self.sampling.shots + self.sampling.queries
        keys = rng.fold(rng.key(self.seed, split, device=self.device), indices.to(self.device))
        who = speakers[rng.integers(rng.fold(keys, _SPEAKER), len(speakers))]
        training = split == "train"
        factor = torch.ones(len(keys), device=self.device)
        if training and self.voices:
            factor = (1 + self.voices) ** rng.uniform(rng.fold(keys, _VOICE), (), -1.0, 1.0)
        asked = torch.arange(each, device=self.device) >= shots
        drawn = self.pool.draw(rng.fold(keys, _DRAW), who, allowed[who], asked, self.words[1])
        format: Any = self.spec.format
        samples, length, said = self.pool.join(drawn, factor, self.words[0], self.gap, format.samples)
        flat = {"samples": samples.flatten(0, 1), "length": length.flatten()}
        lanes = rng.split(rng.fold(keys, _AUGMENT), each).flatten()
        augmented = training and bool(self.augmentation)
        x = format.features(format.disturbed(flat, lanes, self.augmentation) if augmented else flat)
        x = format.distorted(x, lanes, self.augmentation) if augmented else x
        x = map_features(lambda t: t.view(len(keys), each, *t.shape[1:]), x)
        y = self._labels(drawn.word, said)
        _, given = presence(self.sampling, rng.fold(keys, _SIZES))
        seen = torch.arange(shots, device=self.device) < given
        return Episode(
            Examples(map_features(lambda t: t[:, :shots], x), y[:, :shots], seen),
            Examples(map_features(lambda t: t[:, shots:], x), y[:, shots:], torch.ones_like(said[:, shots:]) > 0),
        )

    def _labels(self, word: Tensor, said: Tensor) -> Tensor:
        """y (T, U, 1 + longest) of utterances of the words (T, U, W), of which the first `said` (T, U) are heard."""
        heard = torch.arange(word.shape[-1], device=word.device) < said[..., None]
        ids = torch.where(heard[..., None], self.ids[word], 0).flatten(2)
        there = ids > 0
        if self.spaced:
            there = there & (there.cumsum(-1) < there.sum(-1, keepdim=True))
        place, size = torch.where(there, there.cumsum(-1), 0), self.spec.target.shape[0]
        y = ids.new_zeros((*ids.shape[:2], max(size, 1 + ids.shape[-1])))
        y = y.scatter(-1, place, torch.where(there, ids, 0))
        y[..., 0] = there.sum(-1)
        return y[..., :size]


def _settled(**options: Any) -> dict[str, Any]:
    """With the whole path of the file that names the splits, and the tokens: what a network's outputs stand for."""
    said = {"splits": os.path.abspath(options["splits"]) if options["splits"] else ""}
    if options["tokens"]:
        return options | said
    folders = {normalize("NFC", folder.name) for folder in class_folders(options["root"], "recordings", ".wav")}
    return options | said | {"tokens": tokens_of(parts_of(sorted(folders), options["spelled"]))}


@sources.register("utterances", data="a folder of recorded words", places=("root",), settle=_settled)
def utterances(
    *,
    root: str,
    group: str = "",
    rate: int = 16000,
    seconds: float = 4.0,
    word_seconds: float = 1.0,
    mels: int = 40,
    stride: Size = 4,
    fewest: Size = 2,
    most: Size = 5,
    pause: tuple[float, float] = (0.05, 0.2),
    spelled: bool = False,
    tokens: tuple[str, ...] = (),
    new: New = "speakers",
    splits: str = "",
    val: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
    broken: Broken = "refuse",
    voices: float = 0.0,
    shift: float = 0.0,
    speed: float = 0.0,
    gain: float = 0.0,
    noise: float = 0.0,
    time_mask: float = 0.0,
    mel_mask: float = 0.0,
) -> UtteranceSource:
    """Connected speech from recordings of words, in one sub-folder for each word.

    Each task is one speaker: some utterances to learn the voice from, and others to be written down. Extra 'audio'.

    root: the folder. group: a pattern (a regular expression) in the names of files below it that says who speaks:
        '(s[0-9]+)_'; without one, all recordings are taken as of one speaker, and only words can be `new`.
    rate: samples a second. seconds: of an utterance at most; fewer words are said where not all fit.
    word_seconds: of a word at most; of longer recordings the loudest window is taken. mels: bands of frequencies.
    stride: frames, of 0.01 s each, from one position at which something is said to the next.
    fewest, most: words in an utterance. pause: shortest and longest silence between two, in seconds.
    spelled: whether texts are spelled, in the letters of the folders' names, or made of whole words.
    tokens: these letters or words; if not given, those of all folders.
    new: what val and test have that training has not: 'speakers', or, where words are spelled, 'words'.
    splits: a JSON file that names the speakers, or words, of each split: {"train": […], "val": […], "test": […]}.
    val, test: shares of them that are held out, at random by `split_seed`, where nothing names them.
    split_seed: which these are.
    broken: whether a recording that cannot be read stops everything ('refuse') or is left out ('skip').
    voices: in training, every task's speaker is played at most this share faster or slower, and so higher or lower.
    shift, speed, gain, noise, time_mask, mel_mask: distortion of training utterances; see `SoundAugment` for the units.
    """
    if fewest > most or not 0 <= pause[0] <= pause[1]:
        raise ConfigError(f"fewest={fewest} must be at most most={most}, and pause rise from 0, found {pause}.")
    if new == "words" and not spelled:
        raise ConfigError("New words can only be written where texts are spelled. Add --tasks.spelled.")
    single: Any = formats.make("audio", rate=rate, seconds=word_seconds, mels=0)
    format: Any = formats.make(
        "audio", rate=rate, seconds=seconds, mels=mels, longer="refuse", label="text", group="speaker"
    )
    if word_seconds > seconds:
        raise ConfigError(f"A word of word_seconds={word_seconds} must fit into seconds={seconds}. Raise seconds.")
    pool = _pool(single, root, group, broken)
    parts = parts_of(pool.words, spelled)
    tokens = tokens or tokens_of(parts)
    ids = ids_of(parts, tokens, root)
    positions = -(-format.layout["x"].shape[-1] // stride)
    need = most * (int((ids > 0).sum(1).max()) + int((ids[:, 1:].eq(ids[:, :-1]) & (ids[:, 1:] > 0)).sum(1).max()))
    need = need if spelled else 2 * most - 1  # a blank between equal words
    if need > positions:
        raise ConfigError(
            f"Utterances of up to {most} words may need {need} positions, and {seconds} s with stride={stride} have "
            f"{positions}. Lower stride or most, or raise seconds."
        )
    target = targets.make(
        "sequence", tokens=tokens, longest=most * ids.shape[1], positions=positions, words=not spelled
    )
    names = pool.speakers if new == "speakers" else pool.words
    said = named_in(splits)
    return UtteranceSource(
        pool=pool,
        ids=ids,
        spaced=spelled,
        words=(fewest, most),
        gap=(round(pause[0] * rate), round(pause[1] * rate)),
        splits=split_classes(len(names), val, test, split_seed, least=1, what=new)
        if said is None
        else named_splits(said, names),
        spec=TaskSpec(format, target),
        new=new,
        voices=voices,
        augmentation=SoundAugment(shift, speed, gain, noise, time_mask, mel_mask),
    )


def _pool(format: Any, root: str, group: str, broken: Broken) -> Spoken:
    """The recordings below a folder, by word and speaker."""
    records = format.find(root)
    who = groups_of(records, root, group)
    if who is not None and "" in who:
        nobody = records.names[who.index("")]
        raise DataError(f"The pattern {group!r} says of {nobody} not who speaks. Correct the pattern, or the name.")
    stored, found = read(format, records, broken)
    say(stored.notices)
    kept, x = records.chosen(stored.kept), named(stored.x)
    words = [normalize("NFC", str(label)) for label in kept.labels or ()]
    speakers = [_EVERYONE if who is None else who[i] for i in stored.kept]
    say_doubles(found, words, kept.names, format.what)
    return Spoken.of(x["samples"], x["length"], words, speakers)
