"""Made-up recordings: a few tones that differ by class, in files of any container."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

soundfile: Any = pytest.importorskip("soundfile")


def tone(pitch: float, seconds: float = 0.4, rate: int = 8000, seed: int = 0) -> Tensor:
    """(n,) float32: a tone of this pitch in Hz and one an octave higher, with noise."""
    t = torch.arange(round(seconds * rate)) / rate
    noise = torch.randn(len(t), generator=torch.Generator().manual_seed(seed))
    return 0.3 * torch.sin(2 * math.pi * pitch * t) + 0.1 * torch.sin(4 * math.pi * pitch * t) + 0.01 * noise


def save(path: Path, samples: Tensor, rate: int = 8000, subtype: str | None = None) -> Path:
    """samples: (n,), or (n, channels)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.numpy(), rate, subtype=subtype)
    return path


def folder(root: Path, classes: int = 12, each: int = 6, rate: int = 8000) -> Path:
    """A folder with one sub-folder of tones of different lengths for each class."""
    for c in range(classes):
        for i in range(each):
            samples = tone(200.0 * 1.2**c, 0.25 + 0.02 * i, rate, seed=100 * c + i)
            save(root / f"tone{c:02d}" / f"{i}.wav", samples, rate)
    return root


def spoken(root: Path, speakers: int = 5, words: tuple[str, ...] = ("la", "mi", "so"), each: int = 4) -> Path:
    """A folder for each word, which is a tone, with recordings 'speaker-number' of different lengths and pitches."""
    for w, word in enumerate(words):
        for s in range(speakers):
            for i in range(each):
                pitch = 300.0 * 1.5**w * (1 + 0.03 * s)
                save(root / word / f"s{s}-{i}.wav", tone(pitch, 0.2 + 0.02 * i, seed=100 * s + i))
    return root


def transcribed(root: Path, speakers: int = 5, each: int = 8) -> Path:
    """Recordings of one to three words of `spoken`, and a CSV file that says what is said in them, and by whom."""
    words, lines = ("la", "mi", "so"), ["file,text,speaker"]
    for s in range(speakers):
        for i in range(each):
            said = [(i + k + s) % 3 for k in range(1 + i % 3)]
            parts = [torch.cat([tone(300.0 * 1.5**w * (1 + 0.03 * s), 0.2, seed=i), torch.zeros(400)]) for w in said]
            save(root / f"s{s}" / f"{i}.wav", torch.cat(parts))
            lines.append(f"s{s}/{i}.wav,{' '.join(words[w] for w in said)},s{s}")
    (root / "said.csv").write_text("\n".join(lines))
    return root / "said.csv"
