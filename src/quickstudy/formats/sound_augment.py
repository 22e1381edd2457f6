"""Random small distortions of recordings, before and after they become spectrograms.

Everything is a pure function of per-clip keys (`quickstudy.rng`), so an augmented episode repeats like any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.formats.distortion import Distortion

_NOISE_FLOOR = 40.0  # dB by which the weakest noise lies below the clip
_SPEED, _GAIN, _NOISE, _SHIFT, _TIME, _MELS, _STRETCH, _WARP = range(8)
_BENDS = 4  # cosines that a warp of the bands is made of


@dataclass(frozen=True)
class SoundAugment(Distortion):
    """How far recordings may be distorted in training. Every number is the largest amount; 0 switches it off.

    Attributes:
        shift: in time, as a share of the window, uniform in both directions; what leaves the window is lost.
        speed: log-rate of playing, and with it of all pitches; 0.1 gives factors from 1/1.1 to 1.1 (Ko et al. 2015).
        gain: of the loudness, in decibels, uniform in both directions.
        noise: loudest white to brown noise, relative to the clip; 0.3 lies 10 dB below it. It is uniform in decibels.
        stretch: log-rate of playing at the same pitch, as of slower or faster speakers.
        warp: of the bands of a spectrogram, as by longer or shorter throats (Lee & Rose 1998; Jaitly & Hinton 2013):
            the standard deviation by which a band is moved up or down, smoothly over the bands, as a share of all.
        time_mask: longest stretch of frames that is blanked, as a share of the window (Park et al. 2019).
        mel_mask: broadest band of frequencies that is blanked, as a share of all (Park et al. 2019).
    """

    shares = ("shift", "warp", "time_mask", "mel_mask")

    shift: float = 0.0
    speed: float = 0.0
    gain: float = 0.0
    noise: float = 0.0
    stretch: float = 0.0
    warp: float = 0.0
    time_mask: float = 0.0
    mel_mask: float = 0.0


def disturb(samples: Tensor, length: Tensor, keys: Tensor, how: SoundAugment) -> tuple[Tensor, Tensor]:
    """Play clips faster or slower, louder or softer, and with noise: samples (n, S) float, length (n,) of each.

    What is slowed down beyond S samples is cut on both sides alike.
    """
    if how.speed:
        u = rng.uniform(rng.fold(keys, _SPEED), (), -1.0, 1.0)
        samples, length = _played(samples, length, torch.exp(u * math.log1p(how.speed)))
    if how.gain:
        u = rng.uniform(rng.fold(keys, _GAIN), (), -how.gain, how.gain)
        samples = samples * 10 ** (u / 20)[:, None].to(samples)
    if how.noise:
        samples = _noisy(samples, length, rng.fold(keys, _NOISE), how.noise)
    return samples, length


def _played(samples: Tensor, length: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Clips that are played `factor` (n,) times as fast, by linear interpolation."""
    size = samples.shape[-1]
    whole = (length / factor).floor()
    new = whole.clamp(min=1, max=size)
    skipped = (whole - new).clamp(min=0) / 2
    at = (torch.arange(size, device=samples.device) + skipped[:, None]) * factor[:, None]
    low = at.floor().long().clamp(max=size - 1)
    high = torch.minimum(low + 1, (length - 1)[:, None]).clamp(max=size - 1)
    out = torch.lerp(samples.gather(1, low), samples.gather(1, high), (at - low).to(samples.dtype).clamp(0, 1))
    return out * (torch.arange(size, device=samples.device) < new[:, None]), new.to(length.dtype)


@lru_cache(8)
def _noises(count: int, device: torch.device) -> Tensor:
    """(2, count): white and brown noise, each of variance 1."""
    white = rng.normal(rng.key(0, "noise", device=device), (count,))
    spectrum = torch.fft.rfft(white)
    brown = torch.fft.irfft(spectrum / torch.arange(1, len(spectrum) + 1, device=device), n=count)
    return torch.stack([white / white.std(), brown / brown.std()])


def _noisy(samples: Tensor, length: Tensor, keys: Tensor, most: float) -> Tensor:
    """Clips with noise between white and brown, from a place of its own in long noises, over their own length."""
    size = samples.shape[-1]
    noises = _noises(4 * size, samples.device)
    start = rng.integers(rng.fold(keys, 0), 3 * size)
    at = start[:, None] + torch.arange(size, device=samples.device)
    colour, level = rng.uniform(rng.fold(keys, 1)), rng.uniform(rng.fold(keys, 2), (), -_NOISE_FLOOR, 0.0)
    there = torch.arange(size, device=samples.device) < length[:, None]
    noise = torch.lerp(noises[0][at], noises[1][at], colour[:, None])
    power = (samples * there).square().sum(1, keepdim=True) / length[:, None].clamp(min=1)
    return samples + (most * 10 ** (level / 20))[:, None] * power.sqrt() * noise.to(samples.dtype) * there


def distort(x: Tensor, keys: Tensor, how: SoundAugment) -> Tensor:
    """Stretch, warp, shift and mask features (n, …, frames), or (n, …, mels, frames): what is moved in from outside, or
    masked, is 0.

    Time is stretched about its middle. Bands that are moved in from outside are copies of the outermost. Masks are of
    whole frames and, of spectrograms, of whole bands (SpecAugment, Park et al. 2019).
    """
    frames = x.shape[-1]
    at = torch.arange(frames, device=x.device)
    wide = (len(x), *[1] * (x.dim() - 2))
    if how.stretch:
        u = rng.uniform(rng.fold(keys, _STRETCH), (), -1.0, 1.0)
        factor = torch.exp(u * math.log1p(how.stretch))[:, None]
        middle = (frames - 1) / 2
        x = _between(x, (at - middle) * factor + middle, -1, outside=0.0)
    if how.warp and x.dim() > 2:
        x = _between(x, _warped(rng.fold(keys, _WARP), x.shape[-2], how.warp), -2)
    if how.shift:
        by = (rng.uniform(rng.fold(keys, _SHIFT), (), -how.shift, how.shift) * frames).round().long()
        source = at - by[:, None]
        there = (source >= 0) & (source < frames)
        index = source.clamp(0, frames - 1).view(*wide, frames).expand_as(x)
        x = x.gather(-1, index) * there.view(*wide, frames)
    if how.time_mask:
        x = x * _kept(rng.fold(keys, _TIME), frames, how.time_mask).view(*wide, frames)
    if how.mel_mask and x.dim() > 2:
        x = x * _kept(rng.fold(keys, _MELS), x.shape[-2], how.mel_mask).view(*wide[:-1], x.shape[-2], 1)
    return x


def _warped(keys: Tensor, mels: int, spread: float) -> Tensor:
    """Where each of `mels` bands is taken from, (n, mels): the sum of a few cosines of random amplitudes."""
    angle = (torch.arange(mels, device=keys.device) + 0.5) * (math.pi / mels)
    cosines = (torch.arange(_BENDS, device=keys.device)[:, None] * angle).cos()
    scale = spread * mels / cosines.square().sum(0).sqrt().mean()
    return torch.arange(mels, device=keys.device) + scale * rng.normal(keys, (_BENDS,)) @ cosines


def _between(x: Tensor, at: Tensor, axis: int, outside: float | None = None) -> Tensor:
    """x (n, …) at the places `at` (n, size) of an axis, -1 or -2, by linear interpolation; beyond its ends, the
    outermost values, or `outside`."""
    size = x.shape[axis]
    shape = [len(x)] + [1] * (x.dim() - 1)
    shape[axis] = at.shape[1]
    low = at.clamp(0, size - 1).floor().clamp(max=max(size - 2, 0))
    share = (at.clamp(0, size - 1) - low).to(x.dtype).view(shape)
    index = low.long().view(shape).expand(*x.shape[:axis], at.shape[1], *x.shape[axis:][1:])
    found = torch.lerp(x.gather(axis, index), x.gather(axis, (index + 1).clamp(max=size - 1)), share)
    if outside is None:
        return found
    return torch.where(((at >= 0) & (at <= size - 1)).view(shape), found, outside)


def _kept(keys: Tensor, size: int, most: float) -> Tensor:
    """(n, size) bool: False in one stretch, of a length that is uniform from 0 to `most` of all."""
    width, place = rng.uniform(keys, (2,)).unbind(-1)
    width = (width * most * size).round()
    first = (place * (size - width + 1)).floor()
    at = torch.arange(size, device=keys.device)
    return (at < first[:, None]) | (at >= (first + width)[:, None])
