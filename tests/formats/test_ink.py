"""Drawings on any canvas: what is drawn says something, and neither colours, place, size nor pen of the canvas do."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from PIL import ImageDraw
from torch import Tensor

from quickstudy.errors import ConfigError
from quickstudy.formats.image import Image
from quickstudy.formats.ink import Ink, inked
from quickstudy.tasks.glyphs import glyphs
from quickstudy.testing import check_format

ZIGZAG = ((0, 0), (1, 0), (0.3, 0.5), (1, 1))


def canvas(side: int = 200, at: tuple[int, int] = (30, 40), scale: int = 120, pen: int = 6, dark: bool = True,
           colours: tuple[int, int] = (0, 255)) -> Pillow.Image:  # fmt: skip
    """A zigzag on a square canvas. colours: of ink and paper."""
    ink, paper = colours if dark else colours[::-1]
    drawn = Pillow.new("L", (side, side), paper)
    ImageDraw.Draw(drawn).line([(at[0] + scale * x, at[1] + scale * y) for x, y in ZIGZAG], fill=ink, width=pen)
    return drawn


def seen(*drawn: Pillow.Image) -> Tensor:
    x = Ink().features(Ink().store(list(drawn)).x)
    assert isinstance(x, Tensor)
    return x


def test_keeps_the_contract_of_formats(tmp_path: Path) -> None:
    drawn = [canvas(), canvas(pen=12), canvas(dark=False, scale=90)]
    for number, one in enumerate(drawn):
        (tmp_path / f"class{number}").mkdir()
        one.save(tmp_path / f"class{number}" / "a.png")
    check_format(Ink(), [tmp_path / f"class{n}" / "a.png" for n in range(3)], tmp_path)
    check_format(Ink(size=12), torch.rand(3, 1, 12, 12, generator=torch.Generator().manual_seed(0)) / 3)


def test_many_canvases_are_cut_as_each_by_itself() -> None:
    """Of one size and of others, of ink that is seen on white or on black alone, and blank."""
    drawn = [canvas(), canvas(260), canvas(pen=12), canvas(dark=False, scale=90), Pillow.new("L", (200, 200), 255)]
    for ink in (0, 255):
        one = Pillow.new("RGBA", (200, 200), (ink, ink, ink, 0))
        one.putalpha(canvas(dark=False))
        drawn.append(one)
    drawn *= 20  # more than are cut at once
    alone = torch.cat([seen(one) for one in drawn[:7]])
    assert torch.equal(seen(*drawn), alone.repeat(20, 1, 1, 1))
    assert (alone.flatten(1).amax(1) > 0).tolist() == [True, True, True, True, False, True, True]
    every = torch.stack(
        [torch.from_numpy(np.array(one)) for one in drawn if one.mode == "L" and one.size == (200, 200)]
    )
    assert torch.equal(Ink().features(Ink().store(every[:, None]).x), alone[[0, 2, 3, 4]].repeat(20, 1, 1, 1))


def test_dark_on_light_and_light_on_dark_are_the_same_drawing() -> None:
    first, second = seen(canvas(), canvas(dark=False))
    assert torch.equal(first, second) and float(first.max()) == 1.0 and float(first[0, 0].max()) == 0.0


def test_faint_ink_on_grey_paper_is_the_same_drawing() -> None:
    first, second = seen(canvas(), canvas(colours=(90, 150)))
    assert torch.allclose(first, second, atol=0.05)


def test_where_and_how_large_on_the_canvas_says_nothing() -> None:
    plain, moved, larger = seen(
        canvas(), canvas(600, at=(450, 20)), canvas(400, at=(20, 20), scale=240, pen=12)
    )  # fmt: skip
    assert torch.allclose(plain, moved, atol=0.05)
    assert float((plain - larger).abs().mean()) < 0.02


def test_a_canvas_that_is_transparent_shows_either_ink() -> None:
    clear = Pillow.new("RGBA", (100, 100), (0, 0, 0, 0))
    white = clear.copy()
    for image, colour in ((clear, (0, 0, 0, 255)), (white, (255, 255, 255, 255))):
        ImageDraw.Draw(image).line([(20, 20), (80, 20), (40, 80)], fill=colour, width=4)
    first, second = seen(clear, white)
    assert torch.equal(first, second) and float(first.sum()) > 10


def test_noise_of_jpeg_moves_nothing() -> None:
    file = io.BytesIO()
    canvas().save(file, "JPEG", quality=30)
    plain, noisy = seen(canvas(), Pillow.open(file))
    assert float((plain - noisy).abs().mean()) < 0.03


def test_nothing_drawn_is_nothing_and_is_said() -> None:
    stored = Ink().store([Pillow.new("L", (50, 50), 200), canvas()])
    assert isinstance(stored.x, Tensor) and int(stored.x[0].max()) == 0
    assert "1 drawings are blank" in " ".join(stored.notices)


def array(drawn: Pillow.Image) -> Tensor:
    return torch.frombuffer(bytearray(drawn.tobytes()), dtype=torch.uint8).reshape(1, 1, *drawn.size)


def stored(records: Tensor) -> Tensor:
    x = Ink().features(Ink().store(records).x)
    assert isinstance(x, Tensor)
    return x


def test_an_array_is_cut_as_the_same_picture_is() -> None:
    small = {"side": 28, "scale": 10, "pen": 1}
    for drawn in (
        canvas(at=(2, 15), **small), canvas(at=(9, 9), colours=(190, 255), **small), canvas(90, (60, 5), 20, 2)
    ):  # fmt: skip
        expected = seen(drawn)
        assert torch.equal(stored(array(drawn)), expected)
        assert torch.equal(stored(255 - array(drawn)), expected)  # light on dark
        assert torch.allclose(stored(array(drawn).float() / 255), expected, atol=0.01)


def test_of_many_arrays_each_is_cut_for_itself() -> None:
    several = [array(canvas(28, at, 10, 1)) for at in ((1, 1), (15, 3), (9, 9))]
    assert torch.equal(stored(torch.cat(several)), torch.cat([stored(one) for one in several]))


def test_an_array_that_its_ink_fills_is_turned_to_ink_on_dark_and_not_cut() -> None:
    x = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    x[..., 0, :] = x[..., -1, :] = x[..., 0] = x[..., -1] = 0.0
    assert torch.equal(stored(x), x) and torch.allclose(stored(1 - x), x)
    once = Ink().store([canvas(90, (60, 5), 20, 2)]).x
    assert isinstance(once, Tensor) and torch.equal(stored(once), once.float() / 255)
    assert not stored(torch.zeros(2, 1, 28, 28)).any()


def test_a_lone_line_and_one_that_leaves_the_canvas() -> None:
    pixels = torch.full((1, 40, 60), 255, dtype=torch.uint8)
    pixels[:, 10:30, 30:32] = 0
    line = inked(pixels, 28)
    rows = (line[0] > 50).any(1).nonzero().flatten()
    assert int(line.max()) == 255 and (int(rows[0]), int(rows[-1])) == (2, 25)  # 20 of 24 pixels, 2 free on each side
    pixels[:, :, 30:32] = 0
    assert int(inked(pixels, 28).max()) == 255


def test_stored_images_are_cut_as_files_are() -> None:
    drawn = canvas(105, at=(20, 30), scale=60, pen=4)
    image = Image(size=105, channels=1)
    brought = Ink().brought(image.store([drawn]).x, image)
    other = Image(size=105, channels=1, invert=True)
    assert torch.equal(brought, Ink().store([drawn]).x)  # type: ignore[arg-type]
    assert torch.equal(brought, Ink().brought(other.store([drawn]).x, other))  # type: ignore[arg-type]


def test_made_up_characters_fill_the_page_as_cut_ones_do() -> None:
    source = glyphs(ink=True)
    x = source.episodes("test", torch.arange(4)).support.x
    assert isinstance(x, Tensor) and source.spec.format == Ink()
    ink = (x.flatten(0, 1)[:, 0] > 0.3).float()
    sides = torch.stack([ink.amax(2).sum(1), ink.amax(1).sum(1)]).amax(0)
    assert float(sides.min()) >= 16 and float(sides.max()) <= 28
    again = torch.stack([inked((255 * (1 - one)).to(torch.uint8), 28) for one in x.flatten(0, 1)]).float() / 255
    assert float((again - x.flatten(0, 1)).abs().mean()) < 0.04


def test_ink_is_grey_and_one_on_zero() -> None:
    with pytest.raises(ConfigError, match="Leave channels and invert out"):
        Ink(channels=3)
