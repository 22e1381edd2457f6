"""Sound: recordings of any common container, rate and length, as spectrograms or as samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from quickstudy.episode import Features, State
from quickstudy.errors import ConfigError, DataError, ShapeError, unknown_name
from quickstudy.formats.base import Format
from quickstudy.formats.drawing import Curve, Drawing, Picture
from quickstudy.formats.layout import Leaf
from quickstudy.formats.reading import read_all
from quickstudy.formats.received import Most, file_of
from quickstudy.formats.recording import Clip, as_clips, clip_of, is_clip, recordings_in
from quickstudy.formats.records import Broken, Records, Stored, all_kept
from quickstudy.formats.rows import READERS, rows_or_files
from quickstudy.formats.samples import COMPACT, floating, packed, tones
from quickstudy.formats.sound import SUFFIXES, require_seconds
from quickstudy.formats.sound_augment import SoundAugment, distort, disturb
from quickstudy.formats.spectrogram import centred, fft_size, in_the_middle, log_mels, mel_filters, standardised
from quickstudy.registry import formats
from quickstudy.targets.distribution import Distribution, mean_of_parts

Normalise = Literal["band", "clip", "none"]
Longer = Literal["windows", "refuse"]
_LEVEL = 0.1  # root mean square of normalised samples
_BATCH = 256  # segments that are answered for at once
_POINTS = 100  # of a curve


@formats.register("audio")
@dataclass(frozen=True, kw_only=True)
class Audio(Format):
    """Recordings as log-mel spectrograms (n, 1, mels, frames), or as samples (n, rate · seconds) where mels is 0.

    In memory: arrays (samples,) or (n, samples) in [-1, 1] or int16, at `rate`; pairs (samples, rate); mappings with
    'array' and 'sampling_rate', as Hugging Face has them; or a column of files. As files: one recording for each
    example, in one sub-folder for each class; or rows (CSV, JSON Lines, Parquet) that name the files, beside them, and
    say what each is. Channels are averaged. A shorter clip lies in the middle, with zeros around it, whatever the
    length of the window; of a longer one the loudest window is taken, and a question about it is answered by the mean
    of the predictions for all its windows, each half over the last, that are not silent.

    rate: samples a second, to which all is brought. seconds: of the window. mels: bands of frequencies. frame, hop:
    length of a frame and distance to the next, in seconds. normalise: every clip is brought to one loudness, and its
    spectrogram to the mean 0 and the variance 1, by 'clip' as a whole, or by 'band' with the mean 0 in each band: that
    takes out microphones and rooms, and sounds that do not change, such as hums; or 'none'.
    trim: decibels below the loudest frame; what is softer at the beginning and the end is cut off. 0 cuts nothing.
    longer: clips that are longer than the window are cut into 'windows', or refused, where an answer is about all of a
    clip. file, label, group: columns of the file's name, of what it is, and of what it belongs to, such as who speaks.
    """

    rate: int = 16000
    seconds: float = 1.0
    mels: int = 40
    frame: float = 0.025
    hop: float = 0.01
    normalise: Normalise = "band"
    trim: float = 0.0
    longer: Longer = "windows"
    file: str = "file"
    label: str = "label"
    group: str = ""

    what = "recordings"
    medium = "sound"
    row_files = tuple(READERS)
    symmetries: ClassVar[Mapping[int, str]] = {2: "played backwards"}
    distortion = SoundAugment

    def __post_init__(self) -> None:
        if not (1000 <= self.rate <= 192_000 and self.mels >= 0 and 0 < self.hop <= self.frame):
            raise ConfigError(
                "rate must lie in [1000, 192000] Hz, mels be at least 0, and hop above 0 and at most frame; found rate="
                f"{self.rate}, mels={self.mels}, frame={self.frame}, hop={self.hop}."
            )
        if not self.frame <= self.seconds <= 600 or round(self.hop * self.rate) < 1:
            raise ConfigError(
                f"seconds must lie between frame={self.frame} and 600, and a hop be at least one sample; found "
                f"seconds={self.seconds}, hop={self.hop} at {self.rate} Hz."
            )
        if not 0 <= self.trim <= 120:
            raise ConfigError(f"trim must lie between 0 (nothing is cut) and 120 decibels, found {self.trim}.")
        for name, value, known in (("normalise", self.normalise, Normalise), ("longer", self.longer, Longer)):
            if value not in get_args(known):
                raise unknown_name(f"value of {name}", str(value), get_args(known))
        if self.mels:
            mel_filters(self.mels, fft_size(self.shortest), self.rate)

    @property
    def samples(self) -> int:
        """Of the window."""
        return round(self.seconds * self.rate)

    @property
    def shortest(self) -> int:
        """Samples of one frame, which every clip has at least."""
        return round(self.frame * self.rate)

    @property
    def step(self) -> int:
        """Samples from one frame to the next."""
        return round(self.hop * self.rate)

    @property
    def cuts(self) -> str:
        return "longer refuse" if self.longer == "windows" else ""

    @property
    def layout(self) -> Mapping[str, Leaf]:
        if not self.mels:
            return {"x": Leaf((self.samples,))}
        return {"x": Leaf((1, self.mels, 1 + (self.samples - self.shortest) // self.step))}

    def __str__(self) -> str:
        return f"recordings of {self.seconds:g} s at {self.rate} Hz" + (f", {self.mels} bands" if self.mels else "")

    # From recordings to compact tensors

    def find(self, place: str | Path | Sequence[str | Path], labelled: bool = True) -> Records:
        return rows_or_files(place, labelled, self._rows, SUFFIXES, self.what)

    def _rows(self, place: Any, labelled: bool) -> Records:
        return recordings_in(place, self.file, self.label if labelled else None, self.group)

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        """'samples' (n, rate · seconds) int16, from the left, and 'length' (n,) int32 of each; the loudest window."""
        stored = self._stored(records, broken, lambda clip: [clip.loudest(self.samples, self.step)])
        assert isinstance(stored.x, Mapping)
        return stored._replace(x={name: stored.x[name] for name in COMPACT})

    def query(self, records: Any, broken: Broken = "refuse") -> Stored:
        """As `store`, with all windows of longer clips, and 'record' (m,) int32: which clip a window is of."""
        return self._stored(records, broken, lambda clip: clip.segments(self.samples))

    def owners(self, stored: Features) -> Tensor | None:
        owner = stored.get("record") if isinstance(stored, Mapping) else None
        return None if owner is None else owner.to(torch.int64)

    def received(self, record: Any, most: Most) -> Any:
        """A file that lasts no longer than may be, by its header."""
        return require_seconds(file_of(record, self.what), most.seconds)

    def _stored(self, records: Any, broken: Broken, cut: Callable[[Clip], list[Tensor]]) -> Stored:
        if isinstance(records, str | Path):
            records = self.find(records, labelled=False).items
        if isinstance(records, Mapping) and not is_clip(records):
            return self._compact(records)
        pieces: list[Tensor] = []
        owners: list[int] = []
        kept: list[int] = []
        skipped: list[str] = []
        done: Counter[str] = Counter()
        for index, clip in read_all(as_clips(records), self._clip, broken, skipped, "Reading recordings"):
            parts = cut(clip)
            pieces += parts
            owners += [len(kept)] * len(parts)
            kept.append(index)
            done.update(clip.done)
            if len(clip.samples) > self.samples:
                done["longer"] += 1
        x = {**packed(pieces, self.samples), "record": torch.tensor(owners, dtype=torch.int32)}
        return Stored(x, kept, self._notices(done, len(kept), skipped))

    def _clip(self, record: tuple[Any, str]) -> Clip:
        clip = clip_of(*record, self.rate, self.shortest)
        clip = clip.trimmed(self.trim, self.shortest, self.step) if self.trim else clip
        if self.longer == "refuse" and len(clip.samples) > self.samples:
            raise DataError(
                f"{record[1]} lasts {len(clip.samples) / self.rate:.3g} s, and the window is {self.seconds:g} s: what "
                "is said in the rest would be lost. Cut it where nobody speaks, or train with a longer window."
            )
        return clip

    def _notices(self, done: Counter[str], total: int, skipped: list[str]) -> list[str]:
        longer = done.pop("longer", 0)
        notices = [f"{count} of {total} recordings {what}." for what, count in sorted(done.items())]
        if longer:
            notices.append(f"{longer} of {total} recordings are longer than the window of {self.seconds:g} s.")
        if skipped:
            notices.append(f"{len(skipped)} recordings left out: {' '.join(skipped)}")
        return notices

    def _compact(self, records: Mapping[str, Any]) -> Stored:
        """What was stored before."""
        found = {name: tuple(getattr(value, "shape", ())) for name, value in records.items()}
        if not set(COMPACT) <= records.keys() or found["samples"][1:] != (self.samples,):
            raise ShapeError(
                f"Stored recordings must have 'samples' (n, {self.samples}) and 'length' (n,), found {found}. Give "
                "files, or a list of arrays."
            )
        return all_kept(dict(records))

    def trial(self, count: int) -> Features:
        samples = torch.zeros((count, self.samples), dtype=torch.int16)
        samples[:, ::2] = 1
        return {"samples": samples, "length": torch.full((count,), self.samples, dtype=torch.int32)}

    # From compact tensors to features

    def features(self, stored: Features, fitted: State | None = None) -> Features:
        """(*lead, 1, mels, frames), or (*lead, samples); differentiable where samples are floating point."""
        assert isinstance(stored, Mapping)
        samples, length = floating(stored["samples"]), stored["length"].long()
        if self.normalise != "none":
            there = torch.arange(self.samples, device=samples.device) < length[..., None]
            samples = _LEVEL * standardised(samples, there, (-1,)) * there
        if not self.mels:
            return in_the_middle(samples, length)
        x = log_mels(samples, self.rate, self.mels, self.shortest, self.step)
        frames = 1 + (length - self.shortest).clamp(min=0) // self.step
        if self.normalise != "none":
            heard = (torch.arange(x.shape[-1], device=x.device) < frames[..., None])[..., None, :]
            x = centred(x, heard) if self.normalise == "band" else x
            x = standardised(x, heard, (-2, -1))
        return in_the_middle(x, frames[..., None])[..., None, :, :]

    def reading(self, fitted: State) -> dict[str, Any]:
        of = {"rate": self.rate, "samples": self.samples, "frame": self.shortest, "hop": self.step}
        return {"kind": "sound", **of, "trim": self.trim, "longer": self.longer}

    def entering(self, stored: Features, fitted: State) -> dict[str, Tensor]:
        assert isinstance(stored, Mapping)
        return {name: stored[name] for name in COMPACT}

    def entered(self, given: Mapping[str, Tensor], fitted: State) -> Features:
        return self.features(dict(given))

    def tried(self, key: Tensor, count: int, fitted: State) -> dict[str, Tensor]:
        return tones(key, count, self.shortest, self.samples)

    def ask(
        self, predict: Callable[[Features], Distribution], stored: Features, fitted: State, **asked: Any
    ) -> Distribution:
        """What is said of clips: the mean of the predictions for their windows."""
        assert isinstance(stored, Mapping)
        owner = self.owners(stored)
        if asked or owner is None or not len(owner):
            return super().ask(predict, stored, fitted, **asked)
        parts = [
            predict(self.features({name: stored[name][start : start + _BATCH] for name in COMPACT}, fitted))
            for start in range(0, len(owner), _BATCH)
        ]
        return mean_of_parts(parts, owner)

    def disturbed(self, stored: Features, keys: Tensor, how: SoundAugment) -> Features:
        assert isinstance(stored, Mapping)
        samples, length = disturb(floating(stored["samples"]), stored["length"], keys, how)
        return {"samples": samples, "length": length.clamp(min=self.shortest)}

    def distorted(self, x: Features, keys: Tensor, how: SoundAugment) -> Features:
        assert isinstance(x, Tensor)
        return distort(x, keys, how)

    def turned(self, x: Features, which: Tensor) -> Features:
        """Played backwards where `which` (n,) is 1."""
        assert isinstance(x, Tensor)
        return torch.where(which.view(-1, *[1] * (x.dim() - 1)) == 1, x.flip(-1), x)

    @property
    def example(self) -> str:
        return "recording"

    def draw(self, x: Features) -> Drawing | None:
        """The spectrogram, high frequencies at the top and loud ones dark; or how loud the samples are over time."""
        assert isinstance(x, Tensor)
        x = x.detach().float().cpu()
        if not self.mels:
            return Curve([float(part.abs().max()) for part in x.tensor_split(min(_POINTS, len(x)))])
        low, high = x.min(), x.max()
        shade = 1 - (x - low) / (high - low).clamp(min=1e-6)
        return Picture((shade.flip(1) * 255).round().to(torch.uint8))
