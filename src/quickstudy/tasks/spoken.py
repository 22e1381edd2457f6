"""A pool of recorded words by speaker, and how they are joined to utterances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from quickstudy import rng

_WORD, _TURN, _ITEM, _PAUSE, _COUNT = range(5)


class Utterances(NamedTuple):
    """What is drawn for T tasks of E utterances: keys (T,), and the word and the recording of each place, (T, E, W)."""

    keys: Tensor
    word: Tensor
    item: Tensor


@dataclass(frozen=True)
class Spoken:
    """R recordings of words, those of one speaker and word beside each other.

    samples: of all in a row, int16. starts, lengths: (R,) int64, of each. first, counts: (speakers, words) int64, where
    the recordings of a word by a speaker begin, and how many there are.
    """

    samples: Tensor
    starts: Tensor
    lengths: Tensor
    first: Tensor
    counts: Tensor
    speakers: tuple[str, ...]
    words: tuple[str, ...]

    @classmethod
    def of(cls, samples: Tensor, lengths: Tensor, words: Sequence[str], speakers: Sequence[str]) -> Spoken:
        """samples: (R, most) int16, from the left. lengths, words, speakers: of each recording."""
        spoken, heard = tuple(sorted(set(speakers))), tuple(sorted(set(words)))
        number = {name: i for i, name in enumerate(spoken)}, {name: i for i, name in enumerate(heard)}
        cell = torch.tensor([number[0][s] * len(heard) + number[1][w] for s, w in zip(speakers, words, strict=True)])
        mixed = rng.permutation(rng.key(0, "spoken"), len(cell))  # neighbours may be of one session
        order = mixed[cell[mixed].argsort(stable=True)]
        lengths = lengths[order].long()
        there = torch.arange(samples.shape[1]) < lengths[:, None]
        counts = cell.bincount(minlength=len(spoken) * len(heard))
        return cls(
            samples[order][there], lengths.cumsum(0) - lengths, lengths,
            (counts.cumsum(0) - counts).view(len(spoken), -1), counts.view(len(spoken), -1), spoken, heard,
        )  # fmt: skip

    def to(self, device: torch.device | str) -> Spoken:
        names = ("samples", "starts", "lengths", "first", "counts")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def draw(self, keys: Tensor, who: Tensor, allowed: Tensor, asked: Tensor, most: int) -> Utterances:
        """Words for `most` places of E utterances, by keys (T,), of speakers (T,) and of their words (T, words) bool.

        Of each word half of the recordings, another half in each task, are for utterances that are `asked` (E,) about,
        the others for the support set. Every word that is allowed has at least two.
        """
        shape, lanes = (len(asked), most), keys[:, None, None]
        known = allowed.long().argsort(dim=1, descending=True, stable=True)
        place = rng.integers(rng.fold(keys, _WORD), allowed.sum(1)[:, None, None], shape)
        word = known.gather(1, place.flatten(1)).view_as(place)
        of = who[:, None, None].expand_as(word)
        count = self.counts[of, word]
        half, pick = count // 2, rng.bits(rng.fold(keys, _ITEM), shape)
        inside = torch.where(asked[:, None], half + pick % (count - half), pick % half)
        turn = rng.bits(rng.fold(rng.fold(lanes, _TURN), word), ()) % count
        return Utterances(keys, word, self.first[of, word] + (turn + inside) % count)

    def join(
        self, drawn: Utterances, factor: Tensor, least: int, gap: tuple[int, int], size: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Utterances of at most `size` samples: these, (T, E, size) int16, their lengths, and how many words they hold.

        Each has `least` words or more, unless fewer fit, with pauses of `gap` samples between. factor: (T,), how much
        faster all words of a task are played, by linear interpolation; with that voices are higher, too.
        """
        (keys, word, item), most = drawn, drawn.word.shape[-1]
        each, device = tuple(word.shape[1:]), word.device
        length = (self.lengths[item] / factor[:, None, None]).floor().long().clamp(1, size)
        pause = gap[0] + rng.integers(rng.fold(keys, _PAUSE), gap[1] - gap[0] + 1, each)
        begin = (length + pause).cumsum(-1) - (length + pause)
        end = begin + length
        wanted = least + rng.integers(rng.fold(keys, _COUNT), most - least + 1, each[:1])
        fits = (end <= size) & (torch.arange(most, device=device) < wanted[..., None])
        said = fits.sum(-1).clamp(min=1)
        time = torch.arange(size, device=device).expand(*word.shape[:2], size).contiguous()
        place = torch.searchsorted(begin.contiguous(), time, right=True) - 1
        inside = time - begin.gather(-1, place)
        heard = (inside < length.gather(-1, place)) & (place < said[..., None])
        last = self.lengths[item].gather(-1, place) - 1
        at = torch.where(heard, inside, 0) * factor[:, None, None]
        low = torch.minimum(at.floor().long(), last)
        high = torch.minimum(low + 1, last)
        first = self.starts[item].gather(-1, place)
        values = torch.lerp(self.samples[first + low].float(), self.samples[first + high].float(), at - low)
        samples = torch.where(heard, values.round(), 0.0).to(torch.int16)
        return samples, end.gather(-1, said[..., None] - 1).squeeze(-1).to(torch.int32), said
