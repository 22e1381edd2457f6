"""Connectionist temporal classification: what a transcript costs where nobody says when each token is heard.

A network says at each of T positions a distribution over a blank and C tokens; a transcript is what is left of a path
through them when repeated tokens are merged and blanks dropped (Graves et al. 2006). Ids are 1 … C, 0 is the blank.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, pad

BLANK = 0
_NEVER = -1e30  # the logarithm of no probability: minus infinity would make gradients NaN


def positions_needed(ids: Tensor, lengths: Tensor) -> Tensor:
    """The fewest positions that can say transcripts ids (n, L) of lengths (n,): a blank between equal tokens. (n,)."""
    there = torch.arange(1, ids.shape[1], device=ids.device) < lengths[:, None]
    return lengths + ((ids[:, 1:] == ids[:, :-1]) & there).sum(1)


def ctc_costs(logits: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
    """Minus the log-probability of each transcript, in nats: (n,).

    logits: (n, T, 1 + C). ids: (n, L) int64, in 1 … C up to each length (n,), whatever after it. The forward recursion
    in logarithms, so that it may be differentiated as often as one likes. A transcript that needs more positions than
    there are (`positions_needed`) costs about 1e30.
    """
    said = log_softmax(logits, dim=-1)
    count, longest = ids.shape
    known = torch.arange(longest, device=ids.device) < lengths[:, None]
    spread = torch.stack([torch.zeros_like(ids), torch.where(known, ids, BLANK)], dim=2).flatten(1)
    path = torch.cat([spread, torch.zeros_like(ids[:, :1])], dim=1) if longest else torch.zeros_like(lengths)[:, None]
    jumps = (path != BLANK) & (path != pad(path, (2, 0))[:, : path.shape[1]])
    emitted = said.gather(2, path[:, None, :].expand(count, said.shape[1], path.shape[1]))
    begins = torch.arange(path.shape[1], device=ids.device) < 2
    reached = torch.where(begins, emitted[:, 0], _NEVER)
    for position in range(1, said.shape[1]):
        before = pad(reached, (2, 0), value=_NEVER)
        jumped = torch.where(jumps, before[:, :-2], _NEVER)
        ways = torch.stack([reached, before[:, 1:-1], jumped])
        reached = ways.logsumexp(0) + emitted[:, position]
    last = reached.gather(1, 2 * lengths[:, None])
    token = reached.gather(1, (2 * lengths[:, None] - 1).clamp(min=0))
    token = torch.where(lengths[:, None] > 0, token, _NEVER)
    return -torch.cat([last, token], dim=1).logsumexp(1)  # logaddexp's second derivative overflows


def greedy(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest path, merged: ids (n, T) int64, 0 after each length, and the lengths (n,)."""
    best = logits.argmax(dim=-1)
    new = (best != BLANK) & (best != pad(best, (1, 0), value=BLANK)[:, :-1])
    place = torch.where(new, new.cumsum(1) - 1, best.shape[1])
    ids = torch.zeros_like(pad(best, (0, 1))).scatter(1, place, torch.where(new, best, BLANK))
    return ids[:, :-1], new.sum(1)


def beam(logits: Tensor, width: int) -> list[int]:
    """The likeliest transcript that a prefix beam search of this width finds in logits (T, 1 + C) (Graves 2012).

    Unlike `greedy` it adds up all paths to the same transcript.
    """
    said = log_softmax(logits.double(), dim=-1)
    never = -math.inf
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, never)}  # log p with the last a blank, or a token
    add = _log_add
    for row in said.tolist():
        grown: dict[tuple[int, ...], tuple[float, float]] = {}
        for prefix, (blank, token) in beams.items():
            both = add(blank, token)
            old = grown.get(prefix, (never, never))
            same = token + row[prefix[-1]] if prefix else never
            grown[prefix] = (add(old[0], both + row[BLANK]), add(old[1], same))
            for one in range(1, len(row)):
                longer = (*prefix, one)
                reached = (blank if prefix and prefix[-1] == one else both) + row[one]
                old = grown.get(longer, (never, never))
                grown[longer] = (old[0], add(old[1], reached))
        best = sorted(grown.items(), key=lambda entry: add(*entry[1]), reverse=True)[:width]
        beams = dict(best)
    return list(next(iter(beams)))


def _log_add(one: float, other: float) -> float:
    high, low = max(one, other), min(one, other)
    if low == -math.inf:
        return high
    return high + math.log1p(math.exp(low - high))
