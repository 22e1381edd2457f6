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
