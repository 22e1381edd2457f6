"""Log-mel spectrograms: how strong each band of frequencies is in each short frame of a recording."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from quickstudy.errors import ConfigError

_LOWEST = 60.0  # Hz: below is hum, and no speech
FLOOR = 1e-5  # added to the power of a band
_FAINT = 1e-8  # added to variances that are divided by


def mel(hertz: Tensor) -> Tensor:
    """Pitch in mels: 2595 log10(1 + f / 700) (O'Shaughnessy 1987)."""
    return 2595.0 * torch.log10(1.0 + hertz / 700.0)


@lru_cache(32)
def mel_filters(mels: int, fft: int, rate: int) -> Tensor:
    """(fft // 2 + 1, mels) float64: triangles over the power spectrum's bins (Davis & Mermelstein 1980).

    Corner i of mels + 2 lies at equal distances in mels between 60 Hz and half the rate; filter m rises linearly in
    Hertz from corner m to 1 at corner m + 1 and falls to 0 at corner m + 2. ConfigError where one lies between bins.
    """
    low, high = mel(torch.tensor([_LOWEST, rate / 2], dtype=torch.float64)).tolist()
    corners = 700.0 * (10.0 ** (torch.linspace(low, high, mels + 2, dtype=torch.float64) / 2595.0) - 1.0)
    bins = torch.arange(fft // 2 + 1, dtype=torch.float64)[:, None] * (rate / fft)
    rise = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    fall = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    filters = torch.minimum(rise, fall).clamp(min=0)
    if not bool(filters.any(0).all()):
        raise ConfigError(f"mels={mels} bands are too narrow for frames this short at {rate} Hz. Take fewer.")
    return filters


def fft_size(frame: int) -> int:
    """The power of 2 that is at least twice the samples of a frame: padding with zeros refines the bins."""
    return 1 << (2 * frame - 1).bit_length()


def log_mels(samples: Tensor, rate: int, mels: int, frame: int, hop: int) -> Tensor:
    """log(FLOOR + P) of recordings (*lead, n): (*lead, mels, 1 + (n - frame) // hop), in the precision of samples.

    P is the power |Σ_t w_t x_t e^{-iωt}|² / Σ_t w_t² under Hann's window w of `frame` samples, weighted by
    `mel_filters` and summed; every `hop` samples a frame begins, none reaches over the end.
    """
    fft = fft_size(frame)
    window = torch.hann_window(frame, dtype=samples.dtype, device=samples.device)
    frames = samples.unfold(-1, frame, hop) * window
    if not frames.numel():  # of which there is no transform
        return samples.new_zeros((*frames.shape[:-2], mels, frames.shape[-2]))
    power = _power(frames, fft) / window.square().sum()
    filters = mel_filters(mels, fft, rate).to(samples)
    bands: Tensor = (power @ filters + FLOOR).log().transpose(-1, -2)
    return bands


def _power(frames: Tensor, fft: int) -> Tensor:
    """|Σ_t x_t e^{-iωt}|² of frames (…, n), padded with zeros to `fft`: (…, fft // 2 + 1)."""
    if not torch.compiler.is_exporting():
        spectrum = torch.fft.rfft(frames, n=fft)
        found: Tensor = spectrum.real.square() + spectrum.imag.square()
        return found
    times = torch.arange(frames.shape[-1], dtype=torch.float64)  # as products, which every runtime has
    turns = times[:, None] * torch.arange(fft // 2 + 1, dtype=torch.float64) % fft * (2 * torch.pi / fft)
    return (frames @ turns.cos().to(frames)).square() + (frames @ turns.sin().to(frames)).square()


def centred(x: Tensor, there: Tensor, axes: tuple[int, ...] = (-1,)) -> Tensor:
    """x less its mean over what is `there` (0 or 1, broadcast over x) along these axes."""
    there = there.expand_as(x)
    return x - (x * there).sum(axes, keepdim=True) / there.sum(axes, keepdim=True).clamp(min=1)


def standardised(x: Tensor, there: Tensor, axes: tuple[int, ...]) -> Tensor:
    """x with the mean 0 and the variance 1 over what is `there` (0 or 1, broadcast over x) along these axes."""
    there = there.expand_as(x)
    count = there.sum(axes, keepdim=True).clamp(min=1)
    x = centred(x, there, axes)
    return x * ((x * there).square().sum(axes, keepdim=True) / count + _FAINT).rsqrt()


def in_the_middle(x: Tensor, length: Tensor) -> Tensor:
    """The first `length` (*lead,) of each last axis of x (*lead, size), moved to its middle; 0 around them."""
    size = x.shape[-1]
    source = torch.arange(size, device=x.device) - (size - length)[..., None] // 2
    there = (source >= 0) & (source < length[..., None])
    return x.gather(-1, source.clamp(0, size - 1).expand_as(x)) * there
