"""Drawings: the same whatever they come in, a file's picture or an array, and wherever on it they are."""

from __future__ import annotations

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from quickstudy.registry import formats

SIZE = 28
INK = formats.make("ink", size=SIZE)


def canvas(side: int, left: int, top: int, ink: int = 0, paper: int = 255) -> Image.Image:
    """A cross of ten pixels."""
    image = Image.new("L", (side, side), paper)
    for line in ((left, top, left + 9, top + 9), (left + 9, top, left, top + 9)):
        ImageDraw.Draw(image).line(line, fill=ink)
    return image


def array(image: Image.Image) -> Tensor:
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).reshape(1, 1, *image.size)


def stored(records: object) -> Tensor:
    x = INK.features(INK.store(records).x)
    assert isinstance(x, Tensor)
    return x


def test_an_array_is_cut_as_the_same_picture_is() -> None:
    for side, left, top, ink in ((SIZE, 2, 15, 0), (SIZE, 9, 9, 190), (90, 60, 5, 0)):
        image = canvas(side, left, top, ink)
        expected = stored([image])
        assert torch.equal(stored(array(image)), expected)
        assert torch.equal(stored(255 - array(image)), expected), "light on dark"
        assert torch.allclose(stored(array(image).float() / 255), expected, atol=0.01)


def test_of_many_arrays_each_is_cut_for_itself() -> None:
    several = [array(canvas(SIZE, *at)) for at in ((1, 1), (15, 3), (9, 9))]
    assert torch.equal(stored(torch.cat(several)), torch.cat([stored(one) for one in several]))


def test_what_fills_its_array_stays_as_it_is() -> None:
    x = torch.rand(3, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    x[..., 0, :] = x[..., -1, :] = x[..., 0] = x[..., -1] = 0.0  # dark paper
    assert torch.equal(stored(x), x)
    once = INK.store([canvas(90, 60, 5)]).x
    assert isinstance(once, Tensor) and torch.equal(stored(once), once.float() / 255)
    assert not stored(torch.zeros(2, 1, SIZE, SIZE)).any()
