"""Procedurally drawn characters: an endless Omniglot in which alphabets have a hand, characters share strokes and
no two drawings agree.

The generative story is that of Bayesian program learning (Lake, Salakhutdinov & Tenenbaum 2015), with one pen path
instead of a library of learned parts: a stroke is a curve given by its heading θ(t), the sum of a constant turn, a
wave and two corners. An alphabet fixes a style and a small inventory of such strokes; a character picks some of them
and joins each to one before; a drawing disturbs heading, length, place, slant and pen. Everything is a pure function
of three keys (`quickstudy.rng`), so glyphs can be made on the fly on any device.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from quickstudy import rng

STROKES = 4  # the most strokes a character has
_FILLED = 1.55  # of the page's 2, from one end of the path to the other: the pen, and the margin of 'ink', are the rest
_CHUNK = 1 << 22  # floats of one intermediate tensor: keeps the memory of a call below about 150 MB


class _Style(NamedTuple):
    """What the characters of an alphabet have in common; every field (n,)."""

    straight: Tensor  # probability that a stroke of the inventory is a straight line
    turn: Tensor  # standard deviation of the whole turn of a curved stroke, radians
    corner: Tensor  # probability of a sharp corner
    snap: Tensor  # in [0, 1]: how strongly headings are pulled to multiples of 45 degrees
    inventory: Tensor  # int64, number of strokes shared by the characters
    fresh: Tensor  # probability that a character uses a stroke outside the inventory
    more: Tensor  # probability of each further stroke
    joined: Tensor  # probability that a stroke touches one before it
    dots: Tensor  # probability that a stroke after the first is a dot


class _Stroke(NamedTuple):
    """A curve by its heading, θ(t) = heading + turn·t + wave·sin 2πt + corner·[t > at] + second·[t > then]; every
    field (n, STROKES)."""

    heading: Tensor
    turn: Tensor
    wave: Tensor
    corner: Tensor
    at: Tensor
    second: Tensor
    then: Tensor
    length: Tensor


def draw(alphabets: Tensor, characters: Tensor, drawings: Tensor, size: int, fill: bool = False) -> Tensor:
    """Draw one image for each triple of keys.

    Args:
        alphabets: (n,) int64; glyphs with the same key share style and stroke inventory.
        characters: (n,) int64, told apart within the alphabet; 0, 1, 2, … will do.
        drawings: (n,) int64, told apart within the character.
        size: side of the images in pixels.
        fill: each drawing is as large as the page, less a margin, and its strongest ink 1; as the format 'ink' cuts it.

    Returns:
        (n, 1, size, size) float32 in [0, 1]: ink 1 on background 0, on the device of the keys.
    """
    if not len(alphabets):
        return torch.zeros(0, 1, size, size, device=alphabets.device)
    samples = max(64, 2 * size)
    chunk = max(1, _CHUNK // (STROKES * samples * size))
    parts = [
        _draw(a, c, d, size, samples, fill)
        for a, c, d in zip(*(torch.split(keys, chunk) for keys in (alphabets, characters, drawings)), strict=True)
    ]
    return torch.cat(parts)


def _draw(alphabets: Tensor, characters: Tensor, drawings: Tensor, size: int, samples: int, fill: bool) -> Tensor:
    character_keys = rng.fold(alphabets, characters)
    drawing_keys = rng.fold(character_keys, drawings)
    style = _style(alphabets)
    strokes, used = _choose_strokes(alphabets, character_keys, style)
    paths = _trace(_jitter(strokes, drawing_keys), drawing_keys, samples)
    paths = _join(paths, character_keys, drawing_keys, style)
    points = _place(paths, used, character_keys, drawing_keys, fill)
    pen = torch.exp(rng.normal(rng.fold(drawing_keys, 5)) * 0.12) * 0.046
    image = _ink(points, used, pen, size).unsqueeze(1)
    return image / image.amax(dim=(2, 3), keepdim=True).clamp(min=1e-6) if fill else image


def _style(alphabets: Tensor) -> _Style:
    u = rng.uniform(rng.fold(alphabets, 1), (9,)).unbind(-1)
    return _Style(
        straight=0.05 + 0.4 * u[0],
        turn=0.6 + 2.8 * u[1],
        corner=0.1 + 0.6 * u[2],
        snap=u[3],
        inventory=4 + (9 * u[4]).long(),
        fresh=0.1 + 0.3 * u[5],
        more=0.5 + 0.4 * u[6],
        joined=0.55 + 0.4 * u[7],
        dots=0.25 * u[8] ** 2,
    )


def _choose_strokes(alphabets: Tensor, characters: Tensor, style: _Style) -> tuple[_Stroke, Tensor]:
    """The strokes of each character, undisturbed, and which of the STROKES slots it uses: (n, STROKES) bool."""
    slots = torch.arange(STROKES, device=alphabets.device)
    keys = rng.fold(characters.unsqueeze(1), slots)  # (n, STROKES): one key for each slot of each character
    u = rng.uniform(rng.fold(keys, 1), (5,)).unbind(-1)
    more = style.more.unsqueeze(1)
    more = torch.where(slots == 1, 1.0 - (1.0 - more).square(), more)  # lone strokes are rare in real alphabets
    used = ((u[0] < more) | (slots == 0)).long().cumprod(dim=1).bool()
    entry = rng.integers(rng.fold(keys, 2), style.inventory.unsqueeze(1))
    shared = rng.fold(alphabets.unsqueeze(1), entry + 1000)
    base = _stroke(torch.where(u[1] < style.fresh.unsqueeze(1), rng.fold(keys, 3), shared), style)

    dot = (u[2] < style.dots.unsqueeze(1)) & (slots > 0)
    mirror = 1.0 - 2.0 * (u[3] < 0.2)
    quarter = (4.0 * u[4]).floor() * (rng.uniform(rng.fold(keys, 4)) < 0.35) * (math.pi / 2)
    stretch = torch.exp(rng.normal(rng.fold(keys, 5)) * 0.3)
    return (
        _Stroke(
            heading=base.heading * mirror + quarter,
            turn=torch.where(dot, 5.0, base.turn * mirror),
            wave=base.wave * mirror,
            corner=torch.where(dot, 0.0, base.corner * mirror),
            at=base.at,
            second=torch.where(dot, 0.0, base.second * mirror),
            then=base.then,
            length=torch.where(dot, 0.12, base.length * stretch),
        ),
        used,
    )


def _stroke(keys: Tensor, style: _Style) -> _Stroke:
    """One stroke a key: (n, STROKES) keys, style of the alphabet."""
    straight, spread, cornered, snap = (part.unsqueeze(1) for part in style[:4])
    u = rng.uniform(rng.fold(keys, 1), (9,)).unbind(-1)
    z = rng.normal(rng.fold(keys, 2), (3,)).unbind(-1)
    curved = (u[0] >= straight).float()
    has_corner = (u[1] < cornered).float()
    has_second = has_corner * (u[7] < 0.5)
    loop = ((u[2] < 0.12).float() * curved) * torch.sign(z[0]) * 5.5
    heading = math.pi * (2.0 * u[3] - 1.0)
    nearest = torch.round(heading / (math.pi / 4)) * (math.pi / 4)
    side = torch.sign(z[1])
    return _Stroke(
        heading=torch.lerp(heading, nearest, snap),
        turn=torch.where(loop != 0, loop, curved * z[0] * spread),
        wave=curved * z[2] * 1.2 * (u[4] < 0.5),
        corner=has_corner * side * (1.0 + 1.4 * u[5]) * (loop == 0),
        at=torch.lerp(0.3 + 0.4 * u[6], 0.2 + 0.25 * u[6], has_second),
        second=has_second * torch.where(u[8] < 0.6, side, -side) * (1.0 + 1.4 * u[4]) * (loop == 0),
        then=0.55 + 0.25 * u[8],
        length=0.5 + 0.7 * u[2] + 0.5 * has_corner + 0.4 * has_second + 0.9 * (loop != 0),
    )


def _jitter(strokes: _Stroke, drawings: Tensor) -> _Stroke:
    """The same strokes as one hand draws them once."""
    z = rng.normal(rng.fold(drawings, 1), (STROKES, 8)).unbind(-1)
    return _Stroke(
        heading=strokes.heading + 0.10 * z[0],
        turn=strokes.turn * (1.0 + 0.10 * z[1]) + 0.12 * z[1],
        wave=strokes.wave + 0.10 * z[2],
        corner=strokes.corner * (1.0 + 0.12 * z[3]),
        at=strokes.at + 0.05 * z[4],
        second=strokes.second * (1.0 + 0.12 * z[5]),
        then=strokes.then + 0.05 * z[6],
        length=strokes.length * torch.exp(0.12 * z[7]),
    )


def _trace(stroke: _Stroke, drawings: Tensor, samples: int) -> Tensor:
    """Points of each stroke from its start at the origin: (n, STROKES, samples, 2)."""
    t = (torch.arange(samples, device=drawings.device) + 0.5) / samples
    heading, turn, wave, corner, at, second, then, length = (part.unsqueeze(-1) for part in stroke)
    tremor = rng.normal(rng.fold(drawings, 2), (STROKES, 3)).unsqueeze(-2)
    tremble = torch.sin(t.unsqueeze(-1) * torch.tensor([5.0, 8.0, 13.0], device=t.device) + 2.0 * tremor.flip(-1))
    theta = heading + turn * t + wave * torch.sin(2 * math.pi * t) + corner * torch.sigmoid((t - at) * 60.0)
    theta = theta + second * torch.sigmoid((t - then) * 60.0)
    theta = theta + 0.07 * (tremor * tremble).sum(dim=-1)
    steps = torch.stack([torch.cos(theta), torch.sin(theta)], dim=-1) * (length / samples).unsqueeze(-1)
    return steps.cumsum(dim=-2)


def _join(paths: Tensor, characters: Tensor, drawings: Tensor, style: _Style) -> Tensor:
    """Move each stroke to where its character has it: touching an earlier stroke, or standing off the first."""
    count, _, samples, _ = paths.shape
    rows = torch.arange(count, device=paths.device)
    keys = rng.fold(characters, 7)
    u = rng.uniform(rng.fold(keys, 1), (STROKES, 6))
    apart = 0.45 * rng.normal(rng.fold(keys, 2), (STROKES, 2))
    slip = 0.04 * rng.normal(rng.fold(drawings, 3), (STROKES, 2))
    placed = [paths[:, 0] - paths[:, 0].mean(dim=1, keepdim=True)]
    for s in range(1, STROKES):
        earlier = torch.stack(placed, dim=1)
        partner = earlier[rows, (u[:, s, 0] * s).long()]
        there, here = (_touch(u[:, s, k], u[:, s, k + 1], samples) for k in (1, 3))
        anchor = torch.where(
            (u[:, s, 5] < style.joined).unsqueeze(1),
            partner[rows, there] - paths[rows, s, here],
            earlier.mean(dim=(1, 2)) + apart[:, s] - paths[:, s].mean(dim=1),
        )
        placed.append(paths[:, s] + (anchor + slip[:, s]).unsqueeze(1))
    return torch.stack(placed, dim=1)


def _touch(kind: Tensor, where: Tensor, samples: int) -> Tensor:
    """Index of the point at which strokes touch: the start, the end, or anywhere in between. (n,) int64."""
    t = torch.where(kind < 0.3, 0.0, torch.where(kind < 0.55, 1.0, where))
    return (t * (samples - 1)).long()


def _place(paths: Tensor, used: Tensor, characters: Tensor, drawings: Tensor, fill: bool) -> Tensor:
    """Centre and size the character on the page, with the slant of the drawing; coordinates in [-1, 1].

    fill: all in the middle, and of one size.
    """
    z = rng.normal(rng.fold(drawings, 4), (7,))
    shape = torch.stack(
        [
            torch.stack([1.0 + 0.10 * z[:, 0], 0.10 * z[:, 1]], dim=-1),
            torch.stack([0.06 * z[:, 2], 1.0 + 0.10 * z[:, 3]], dim=-1),
        ],
        dim=-2,
    )
    paths = paths @ shape.unsqueeze(1)
    masked = used[:, :, None, None]
    low = torch.where(masked, paths, math.inf).amin(dim=(1, 2))
    high = torch.where(masked, paths, -math.inf).amax(dim=(1, 2))
    side = (high - low).amax(dim=-1)
    want = 0.95 + 0.65 * rng.uniform(rng.fold(characters, 8))
    want = (want * torch.exp(0.12 * z[:, 4])).clamp(max=1.8)
    middle = (low + high) / 2
    if fill:
        return (paths - middle[:, None, None]) * (_FILLED / side)[:, None, None, None]
    zoom = torch.minimum(want / side, torch.full_like(side, 2.0))  # a lone dot stays a dot
    shift = 0.12 * z[:, 5:]
    room = (0.95 - (high - low) * zoom.unsqueeze(1) / 2).clamp(min=0.0)
    shift = torch.maximum(torch.minimum(shift, room), -room)
    return (paths - middle[:, None, None]) * zoom[:, None, None, None] + shift[:, None, None]


def _ink(points: Tensor, used: Tensor, pen: Tensor, size: int) -> Tensor:
    """What a pen of width `pen` (n,), a fraction of the page, leaves on the pixels: (n, size, size).

    Each piece of the path spreads its ink over a Gaussian of the variance of pen plus pixel, which is what area
    downscaling does to a thin line (the pen's counts twice, for the ragged edge of a mouse); the sum over pieces is
    one batched matrix product of rows and columns.
    """
    count = len(points)
    steps = points.diff(dim=2).norm(dim=-1)
    lengths = torch.cat([steps, steps[:, :, -1:]], dim=2) / 2 * used.unsqueeze(-1)  # fractions of the page
    variance = ((2.0 * pen.square() + size**-2) / 12).view(-1, 1, 1)
    centres = (torch.arange(size, device=points.device) + 0.5) / size
    flat = (points.reshape(count, -1, 2) + 1.0) / 2
    columns, rows = (
        torch.exp(-(flat[:, :, axis, None] - centres).square() / (2 * variance)) for axis in (0, 1)
    )  # (n, points, size)
    amount = lengths.reshape(count, -1, 1) * pen.view(-1, 1, 1) / (2 * math.pi * variance)
    return torch.einsum("npr,npc->nrc", rows * amount, columns).clamp(max=1.0)
