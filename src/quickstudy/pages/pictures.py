"""Images of tasks as part of the page: small PNGs in the text itself, framed in the colour of a class."""

from __future__ import annotations

import base64
import html
import io

import torch
from torch import Tensor

from quickstudy.episode import TaskSpec
from quickstudy.pages.charts import colour

_LARGEST = 64  # pixels; larger images are scaled down, so that the page stays small


def are_images(spec: TaskSpec) -> bool:
    """Whether one input is an image (channels, height, width)."""
    return len(spec.input_shape) == 3 and spec.input_shape[0] in (1, 3)


def data_uri(image: Tensor, spec: TaskSpec) -> str:
    """A PNG of one image (channels, height, width) in [0, 1], as it looked before `spec` inverted it."""
    from PIL import Image

    pixels = image.detach().float().cpu().clamp(0, 1)
    if spec.image is not None and spec.image.invert:
        pixels = 1 - pixels
    array = (pixels * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    picture = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    picture.thumbnail((_LARGEST, _LARGEST))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def letter(index: int) -> str:
    """A short sign of a class beside its colour: A, B, …, Z, A1, …"""
    return chr(65 + index % 26) + (str(index // 26) if index >= 26 else "")


def picture(image: Tensor, spec: TaskSpec, description: str) -> str:
    """A plain picture."""
    return f'<img class="px" src="{data_uri(image, spec)}" alt="{html.escape(description)}">'


def framed(image: Tensor, spec: TaskSpec, label: int, description: str, wrong: bool = False) -> str:
    """A picture framed in the colour of class `label`; one that is `wrong` carries a cross and the class's letter."""
    badge = f'<b class="bad">✕ {letter(label)}</b>' if wrong else ""
    kind = "frame wrong" if wrong else "frame"
    inner = picture(image, spec, description)
    title = html.escape(description)
    return f'<span class="{kind}" style="--class:{colour(label)}" title="{title}">{inner}{badge}</span>'
