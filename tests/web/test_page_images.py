"""Images in the page: the same stored pixels as in Python, to the bit, of the same decoded pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw

from quickstudy.formats.image import Image
from quickstudy.formats.ink import Ink
from tests.web.node_runs import needs_node, node

SIZES = [(28, 28), (84, 84), (1, 1), (2, 7), (57, 56), (100, 31), (3, 90), (112, 168), (300, 200), (701, 903), (64, 64)]
INK = {"fine": 4, "faint": 24, "share": 0.3, "slack": 2, "margin": 0.12}
READERS = {
    "grey": Image(size=28, channels=1),
    "inverted": Image(size=20, channels=1, invert=True),
    "colour": Image(size=64),
    "on black": Image(size=33, background="black"),
    "ink": Ink(),
}


def pictures(folder: Path) -> list[Path]:
    """Noise, shapes, transparent and paletted pictures of many sizes, as PNG files."""
    draw = np.random.default_rng(0)
    found = []
    for i, (width, height) in enumerate(SIZES):
        noise = Pillow.fromarray(draw.integers(0, 256, (height, width, 4), dtype=np.uint8), "RGBA")
        shape = Pillow.new("L", (width, height), 255 if i % 2 else 20)
        ImageDraw.Draw(shape).ellipse((width * 0.2, height * 0.3, width * 0.8, height * 0.6), outline=120, width=3)
        clear = Pillow.new("RGBA", (width, height), (0, 0, 0, 0))
        ImageDraw.Draw(clear).line((0, 0, width, height), fill=(255 * (i % 2), 90, 200, 180), width=4)
        kinds = {
            "noise": noise, "opaque": noise.convert("RGB"), "shape": shape, "clear": clear,
            "sharp": shape.point(lambda v: 255 * (v > 128)), "palette": noise.convert("RGB").quantize(17),
        }  # fmt: skip
        for kind, picture in kinds.items():
            found.append(folder / f"{kind}-{width}x{height}.png")
            picture.save(found[-1])
    return found


@needs_node
@pytest.mark.parametrize("name", READERS)
def test_stored_pixels_are_those_of_python(name: str, tmp_path: Path) -> None:
    format = READERS[name]
    files = pictures(tmp_path)
    given = []
    for file in files:
        with Pillow.open(file) as picture:
            given.append([*picture.size, file.stem + ".raw"])
            (tmp_path / given[-1][2]).write_bytes(picture.convert("RGBA").tobytes())
    reading = {
        "size": format.size, "channels": format.channels, "invert": format.invert, "background": format.background,
        "ink": INK if isinstance(format, Ink) else None,
    }  # fmt: skip
    node(
        tmp_path,
        """
        const { storedPixels } = await lib("image.js");
        const all = given.files.map(([width, height, file]) =>
          storedPixels({ data: new Uint8Array(fs.readFileSync(file)), width, height }, given.reading));
        fs.writeFileSync("stored.raw", Buffer.concat(all));
        """,
        files=given,
        reading=reading,
    )
    expected = format.store(files).x.numpy()
    found = np.frombuffer((tmp_path / "stored.raw").read_bytes(), np.uint8).reshape(expected.shape)
    wrong = [file.name for file, a, b in zip(files, found, expected, strict=True) if (a != b).any()]
    assert not wrong, f"{len(wrong)} of {len(files)} differ: {wrong}"
