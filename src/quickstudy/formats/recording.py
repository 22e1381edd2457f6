"""One recording, wherever it came from: checked, at the wanted rate, and cut to a window."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unicodedata import normalize

import torch
from torch import Tensor

from quickstudy.errors import DataError, ShapeError
from quickstudy.formats.records import Records, say
from quickstudy.formats.rows import Rows, groups_in, labels_of, read_rows
from quickstudy.formats.samples import FULL, floating
from quickstudy.formats.sound import Sound, decode, loudest, resampled
from quickstudy.gaps import missing

_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
_SLACK = 0.01  # by which samples may leave [-1, 1]
_MARGIN = 2  # frames that are kept around what is loud
_QUIET = 1e-3  # share of the loudest window's energy below which a window is silent: 30 dB


class Clip(NamedTuple):
    """A recording at the wanted rate. samples: (n,) float32 in [-1, 1]. done: what was done to it, in words."""

    samples: Tensor
    done: tuple[str, ...] = ()

    def trimmed(self, decibels: float, frame: int, step: int) -> Clip:
        """Without what lies before the first and after the last frame within `decibels` of the loudest.

        Frames of `frame` samples begin every `step` samples; two more are kept on either side.
        """
        samples = self.samples - self.samples.mean()
        energy = torch.cat([torch.zeros(1, dtype=torch.float64), samples.double().square().cumsum(0)])
        frames = (energy[frame:] - energy[:-frame])[::step]
        loud = (frames >= frames.max() * 10 ** (-decibels / 10)).nonzero().flatten()
        first, last = (int(loud[end]) for end in (0, -1))
        start, stop = max(0, first - _MARGIN) * step, (last + _MARGIN) * step + frame
        return self._replace(samples=self.samples[start:stop])

    def loudest(self, size: int, step: int) -> Tensor:
        """The window of at most `size` samples with the most energy."""
        start = loudest(self.samples, size, step)
        return self.samples[start : start + size]

    def segments(self, size: int) -> list[Tensor]:
        """Windows of `size` samples, each half over the last, without those that are silent beside the loudest."""
        last = len(self.samples) - size
        if last <= 0:
            return [self.samples]
        starts = [*range(0, last, max(1, size // 2)), last]
        windows = [self.samples[start : start + size] for start in starts]
        energy = torch.stack([window.double().square().sum() for window in windows])
        return [one for one, heard in zip(windows, energy >= _QUIET * energy.max(), strict=True) if heard]


class Absent(NamedTuple):
    """A recording that a row names and that is not there. where: the row. name: what stands in it."""

    where: str
    name: str

    def __str__(self) -> str:
        return f"{self.where}: there is no file {self.name!r:.200}. Check the path."


def recordings_in(place: Any, file: str, label: str | None, group: str) -> Records:
    """The recordings that rows name, relative to their file; `file`, `label` and `group` are columns.

    label: of what each is; None where nobody asks. A recording that is not there is `Absent`. Raises DataError, naming
    file and line, for rows that say two things of one.
    """
    rows = read_rows(place)
    beside = Path(place).parent if isinstance(place, str | Path) else Path()
    named = rows.column(file, "where you train: --tasks.file")
    if not named:
        raise DataError(f"{rows.place} has no rows. Write one for each recording.")
    items = [_there(beside, cell, where) for cell, where in zip(named, rows.places, strict=True)]
    labels = None if label is None else labels_of(rows, label)
    names = [item.where if isinstance(item, Absent) else str(item) for item in items]
    found = Records(items, names, labels, groups_in(rows, group))
    return found if label is None else _each_once(found, rows)


def _there(beside: Path, cell: Any, where: str) -> Path | Absent:
    """The file that a cell names, in any form of Unicode, or with the separators of Windows."""
    name = "" if missing(cell) else str(cell).strip()
    names = [form for one in (name, name.replace("\\", "/")) for form in (one, *(normalize(f, one) for f in _FORMS))]
    there = (beside / one for one in names if os.path.isfile(beside / one))
    return next(there, Absent(where, name))


def _each_once(records: Records, rows: Rows) -> Records:
    """Without rows that say again of a file what a row before them says; DataError where they say something else."""
    first: dict[Any, int] = {}
    twice = []
    for i, item in enumerate(records.items):
        before = first.setdefault(item if isinstance(item, Absent) else os.path.realpath(item), i)
        said = [[part[j] for part in (records.labels, records.groups) if part is not None] for j in (before, i)]
        if said[0] != said[1]:
            raise DataError(
                f"{rows.places[i]} says of the recording {item} that it is {', '.join(said[1])}, but "
                f"{rows.places[before]} that it is {', '.join(said[0])}. Keep the line that is right."
            )
        if before != i:
            twice.append(i)
    if not twice:
        return records
    say([f"{len(twice)} rows left out, which name a recording again, the first in {rows.places[twice[0]]}."])
    return records.chosen(list(first.values()))


def is_clip(record: Any) -> bool:
    """Whether samples come with their rate: as a pair, or as Hugging Face's data sets have them."""
    if isinstance(record, Mapping):
        return {"array", "sampling_rate"} <= record.keys()
    return isinstance(record, tuple) and len(record) == 2 and isinstance(record[1], Real)


def as_clips(records: Any) -> list[tuple[Any, str]]:
    """Records one by one, and what each is called."""
    if isinstance(records, bytes) or hasattr(records, "read") or is_clip(records):
        records = [records]
    if getattr(getattr(records, "dtype", None), "kind", "") in ("O", "U"):
        records = records.tolist()  # a column of files
    if hasattr(records, "columns"):
        raise DataError("Recordings lie in one column of a data frame, found all of it. Give that column.")
    if isinstance(records, Tensor) or hasattr(records, "__array__"):
        array = records if isinstance(records, Tensor) else torch.as_tensor(records)
        if array.dim() != 2:
            raise ShapeError(
                f"Recordings in one array must have the shape (n, samples), found {tuple(array.shape)}. Give several "
                "of different lengths, or a single one, as a list."
            )
        records = list(array)
    if not isinstance(records, Sequence) or isinstance(records, str):
        raise DataError(f"Recordings must be files, or arrays of samples, found {type(records).__name__}.")
    return [(one, _name(one, i)) for i, one in enumerate(records)]


def _name(record: Any, index: int) -> str:
    if isinstance(record, str | Path):
        return str(record)
    name = getattr(record, "name", "")
    return name if name and isinstance(name, str) else f"recording {index + 1}"


def clip_of(record: Any, name: str, rate: int, shortest: int) -> Clip:
    """A file, its bytes, samples (n,) at `rate`, or with a rate of their own: a pair, or a mapping.

    Raises DataError, naming it, for a clip that is broken, silent, of fewer than `shortest` samples, or holds NaN.
    """
    sound = _sound(record, name, rate)
    bad = int((~torch.isfinite(sound.samples)).sum())
    if bad:
        raise DataError(f"{name} holds NaN or infinite values in {bad} samples. Replace or remove it.")
    done: list[str] = []
    if sound.channels > 1:
        done.append(f"mixed from {sound.channels} channels to one")
    if sound.rate != rate:
        done.append(f"brought from {sound.rate} to {rate} samples a second")
    samples = resampled(sound, rate)
    if not len(samples):
        raise DataError(f"{name} holds no sound at all. Replace or remove it.")
    if len(samples) < shortest:
        raise DataError(
            f"{name} lasts {len(samples) / rate:.3g} s, and one frame is {shortest / rate:.3g} s. Give longer "
            "recordings, or shorter frames."
        )
    if any(float(x.max() - x.min()) < 1 / FULL for x in (sound.samples, samples)):  # filters ring where silence ends
        why = f", or its {sound.channels} channels cancel each other" if sound.channels > 1 else ""
        raise DataError(f"{name} is silent: there is nothing to hear in it{why}. Record it again, or remove it.")
    peak = float(samples.abs().max())
    if peak > 1 + _SLACK:
        samples, done = samples / peak, [*done, "louder than full scale, and made softer"]
    return Clip(samples, tuple(done))


def _sound(record: Any, name: str, rate: int) -> Sound:
    if isinstance(record, Absent):
        raise DataError(str(record))
    if isinstance(record, str | Path | bytes) or hasattr(record, "read"):
        return decode(record, name)
    if isinstance(record, Mapping):
        if not is_clip(record):
            raise DataError(f"{name} must have 'array' and 'sampling_rate', found {', '.join(map(str, record))}.")
        return _samples(record["array"], name, record["sampling_rate"])
    if isinstance(record, tuple) and len(record) == 2:
        return _samples(record[0], name, record[1])
    return _samples(record, name, rate)


def _samples(given: Any, name: str, rate: Any) -> Sound:
    """Samples in memory: int16, or floating point in [-1, 1]."""
    real = float(rate) if isinstance(rate, Real) and not isinstance(rate, bool) else 0.0
    if not 1000 <= real <= 400_000 or real % 1:
        raise DataError(f"{name} must say how many samples a second it has, such as 16000, found {rate!r:.40}.")
    try:
        samples = torch.as_tensor(given).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name} is no recording: {error}. Give a file, or an array of samples.") from error
    if samples.dim() != 1:
        raise ShapeError(
            f"{name} must have the shape (samples,), found {tuple(samples.shape)}. Average its channels first."
        )
    if samples.dtype == torch.int16:
        return Sound(floating(samples), int(real))
    if not samples.is_floating_point():
        raise ShapeError(f"{name} must be int16, or floating point in [-1, 1], found {samples.dtype}. Convert it.")
    samples = samples.to(torch.float32)
    if len(samples) and float(samples.nan_to_num(0, 0, 0).abs().max()) > 1 + _SLACK:
        raise DataError(
            f"{name} holds samples as large as {float(samples.nan_to_num(0, 0, 0).abs().max()):.3g}, but full scale "
            "is 1. Divide them by the largest value they may have, such as 32768, or give them as int16."
        )
    return Sound(samples, int(real))
