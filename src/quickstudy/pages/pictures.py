"""Drawings of records as part of a page: pictures, curves, rows and texts, framed in the colour of a class."""

from __future__ import annotations

import base64
import html
import io
from functools import singledispatch

import torch
from torch import Tensor

from quickstudy.errors import ConfigError
from quickstudy.formats.drawing import Curve, Drawing, Film, Picture, Row, Text
from quickstudy.pages.charts import PALETTE, colour

_SHADES, _NO_CLASS = len(PALETTE), 255
_LARGEST = 64  # pixels; larger images are scaled down, so that the page stays small
_WIDEST = 3  # times as wide as high; wider ones, such as spectrograms of seconds, are narrowed
_LONGEST = 280  # characters of a text
_WIDE, _HIGH = 52, 24  # of a small curve, in pixels


@singledispatch
def rendered(drawing: Drawing, description: str) -> str:
    """A drawing as HTML. description: what it is, for those who cannot see it.

    A kind of drawing of one's own is added by a function of the same arguments: `@rendered.register`.
    """
    raise ConfigError(
        f"There is no way to show a {type(drawing).__name__} on a page. Register a function that gives its HTML: "
        "@quickstudy.pages.pictures.rendered.register."
    )


@rendered.register
def _picture(drawing: Picture, description: str) -> str:
    from PIL import Image

    array = drawing.pixels.permute(1, 2, 0).numpy()
    picture = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    wide = picture.width > _WIDEST * picture.height
    if wide:
        picture = picture.resize((_WIDEST * picture.height, picture.height), Image.Resampling.BOX)
    picture.thumbnail((_WIDEST * _LARGEST if wide else _LARGEST, _LARGEST))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return f'<img class="px{" wide" if wide else ""}" src="{uri}" alt="{html.escape(description)}">'


@rendered.register
def _film(drawing: Film, description: str) -> str:
    uri = "data:image/gif;base64," + base64.b64encode(drawing.gif).decode()
    return f'<img class="film" src="{uri}" alt="{html.escape(description)}">'


@rendered.register
def _curve(drawing: Curve, description: str) -> str:
    values = list(drawing.values)
    low, high = min(values, default=0.0), max(values, default=0.0)
    step, span = (_WIDE - 8) / max(1, len(values) - 1), high - low
    heights = [(value - low) / span if span > 0 else 0.5 for value in values]
    points = [(4 + step * i, _HIGH - 5 - (_HIGH - 10) * height) for i, height in enumerate(heights)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    end = f'<circle cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="2"/>' if points else ""
    return (
        f'<svg class="spark" viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-label="{html.escape(description)}">'
        f'<polyline points="{path}"/>{end}</svg>'
    )


@rendered.register
def _row(drawing: Row, description: str) -> str:
    cells = []
    for name, value in drawing.cells:
        head = f"<i>{html.escape(name)}</i>" if name else ""
        cells.append(f"<span>{head}{html.escape(value)}</span>")
    return f'<span class="cells">{"".join(cells)}</span>'


@rendered.register
def _text(drawing: Text, description: str) -> str:
    text = drawing.text if len(drawing.text) <= _LONGEST else drawing.text[: _LONGEST - 1].rstrip() + "…"
    return f'<span class="text">{html.escape(text)}</span>'


def letter(index: int) -> str:
    """A short sign of a class beside its colour: A, B, …, Z, A1, …"""
    return chr(65 + index % 26) + (str(index // 26) if index >= 26 else "")


def framed(drawing: Drawing, label: int, description: str, wrong: bool = False) -> str:
    """A drawing framed in the colour of class `label`; one that is `wrong` carries a cross and the class's letter."""
    badge = f'<b class="bad">✕ {letter(label)}</b>' if wrong else ""
    kind = "frame wrong" if wrong else "frame"
    title, inner = html.escape(description), rendered(drawing, description)
    return f'<span class="{kind}" style="--class:{colour(label)}" title="{title}">{inner}{badge}</span>'


def painted(drawing: Drawing, ids: Tensor) -> Drawing:
    """A picture with its pixels in the colours of their classes, ids (height, width): 0 is left as it is, and what has
    no class is dark. Another kind of drawing as it is."""
    if not isinstance(drawing, Picture):
        return drawing
    pixels = drawing.pixels.expand(3, -1, -1).float()
    shades = torch.tensor([[int(colour(i)[at : at + 2], 16) for at in (1, 3, 5)] for i in range(_SHADES)]).float()
    ids = ids.to(pixels.device)
    over = shades[(ids - 1).clamp(min=0) % _SHADES].permute(2, 0, 1)
    over = torch.where(ids >= _NO_CLASS, 0.0, over)
    return Picture(torch.where(ids == 0, pixels, 0.4 * pixels + 0.6 * over).round().to(torch.uint8))
