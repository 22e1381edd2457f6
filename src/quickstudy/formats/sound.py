"""Files of sound as samples: any common container, rate and number of channels in, one channel out, or a DataError."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.errors import DataError, MissingExtra
from quickstudy.files import require_regular
from quickstudy.formats.received import Upload

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".w64", ".caf")
MAX_SECONDS = 3600.0
_RATES = (1000, 400_000)  # Hz
_BLOCK = 1 << 16  # samples of each channel that are decoded at once
_UNKNOWN = 0x7FFF0000  # bytes, or more: of a file that was written before its length was known
_PAGE = 65_307  # bytes of the largest page of an Ogg file
_ALIKE = 0.99  # share of the largest energy that counts as the largest


class Sound(NamedTuple):
    """A recording at its own rate, in Hz. samples: (n,) float32, the mean of its `channels`."""

    samples: Tensor
    rate: int
    channels: int = 1


def decode(file: str | Path | bytes | IO[bytes], name: str = "", max_seconds: float = MAX_SECONDS) -> Sound:
    """Read a file of sound; several channels are averaged. Extra 'audio'.

    Raises DataError, naming the file (or `name`), if it is no recording, is broken or truncated, holds NaN, or lasts
    longer than `max_seconds`: that is read from its header, before anything is decoded.
    """
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtra("soundfile", "audio", "Reading recordings") from error
    name = name or str(file)
    if isinstance(file, str | Path):
        require_regular(file)
        if not Path(file).exists():
            raise DataError(f"There is no file {name}. Check the path.")
        if not os.path.getsize(file):
            raise DataError(f"{name} is empty: it has 0 bytes. Replace or remove it.")
        file = str(file)
    try:
        with soundfile.SoundFile(io.BytesIO(file) if isinstance(file, bytes) else file) as source:
            rate, channels, promised = source.samplerate, source.channels, source.frames
            if not _RATES[0] <= rate <= _RATES[1]:
                raise DataError(f"{name} has {rate} samples a second, which is no rate of sound. Replace or remove it.")
            if promised > max_seconds * rate:
                raise DataError(
                    f"{name} lasts {promised / rate:.0f} s, more than the limit of {max_seconds:.0f} s: it was not "
                    "decoded. Cut it into pieces."
                )
            # blocks() of soundfile seeks after each, and where it seeks within an MP3 file, what follows is distorted
            source.seekable = lambda: False
            blocks = []
            while len(block := source.read(_BLOCK, dtype="float32", always_2d=True)):
                blocks.append(torch.from_numpy(block).mean(1))
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        raise DataError(
            f"{name} cannot be read as a recording ({error}). Replace or remove it, or convert it to one of "
            f"{', '.join(SUFFIXES)}."
        ) from error
    promised = max(promised, _announced(file, promised))
    samples = torch.cat(blocks) if blocks else torch.zeros(0)
    if len(samples) < promised:
        raise DataError(
            f"{name} is truncated: it announces {promised} samples and holds {len(samples)}. Replace or remove it."
        )
    if _page_is_cut(file):
        raise DataError(f"{name} is truncated: its last page is cut off. Replace or remove it.")
    return Sound(samples, rate, channels)


def require_seconds(file: Upload, most: float) -> Upload:
    """The file of a recording, if it lasts no longer by its header; DataError else, or for none. Extra 'audio'."""
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtra("soundfile", "audio", "Reading recordings") from error
    try:
        with soundfile.SoundFile(io.BytesIO(file.getvalue())) as source:
            lasts = source.frames / max(1, source.samplerate)
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        raise DataError(f"{file.name} cannot be read as a recording ({error}). Replace or remove it.") from error
    if lasts > most:
        raise DataError(
            f"{file.name} lasts {lasts:.0f} s, more than the limit of {most:.0f} s: it was not decoded. Cut it."
        )
    return file


def _page_is_cut(file: str | bytes | IO[bytes]) -> bool:
    """Whether an Ogg file ends within a page; what is there of it is decoded without a word."""
    if isinstance(file, bytes):
        end = file[-_PAGE:]
    elif isinstance(file, str):
        with open(file, "rb") as opened:
            opened.seek(max(0, os.path.getsize(file) - _PAGE))
            end = opened.read()
    else:
        return False
    at = end.rfind(b"OggS\0")
    if at < 0:
        return False
    page = end[at:]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])


def _announced(file: str | bytes | IO[bytes], read: int) -> int:
    """How many samples of those that a WAV or AIFF file announces there would be, if it were as long as it says.

    libsndfile takes what there is of these, without a word.
    """
    if isinstance(file, bytes):
        head, there = file[:12], len(file)
    elif isinstance(file, str):
        there = os.path.getsize(file)
        with open(file, "rb") as opened:
            head = opened.read(12)
    else:
        return read
    kind = {b"RIFF": "little", b"FORM": "big"}.get(head[:4])
    said = int.from_bytes(head[4:8], "little" if kind == "little" else "big") + 8
    if kind is None or len(head) < 12 or said > _UNKNOWN or said <= there + 1:
        return read
    return -(-read * said // there)


def resampled(sound: Sound, rate: int) -> Tensor:
    """The samples at another rate, band-limited (soxr, high quality). Extra 'audio'."""
    if sound.rate == rate or not len(sound.samples):
        return sound.samples
    try:
        import soxr
    except ImportError as error:
        raise MissingExtra("soxr", "audio", f"Bringing recordings from {sound.rate} Hz to {rate} Hz") from error
    other: Any = soxr.resample(sound.samples.numpy(), sound.rate, rate)
    return torch.from_numpy(other)


def loudest(samples: Tensor, size: int, step: int) -> int:
    """Where the window of `size` samples with the most energy begins, of those that begin every `step` samples.

    Where neighbours hold as much (within 1 %), as around a word in silence, it is the middle one of them.
    """
    if len(samples) <= size:
        return 0
    energy = torch.cat([torch.zeros(1, dtype=torch.float64), samples.double().square().cumsum(0)])
    starts = torch.arange(0, len(samples) - size + 1, step)
    inside = energy[starts + size] - energy[starts]
    best = int(inside.argmax())
    alike = inside >= _ALIKE * inside[best]
    before = (~alike[:best]).nonzero()
    after = (~alike[best:]).nonzero()
    first = int(before[-1]) + 1 if len(before) else 0
    last = best + int(after[0]) - 1 if len(after) else len(starts) - 1
    return int(starts[(first + last) // 2])
