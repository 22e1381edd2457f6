"""PNG files in the page, to the bit as Pillow reads them: every depth and colour, transparent and interlaced."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from quickstudy.formats.image import Image
from tests.web.node_runs import needs_node, node

PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
KINDS = [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (1, 3), (4, 3), (8, 3), (8, 4), (8, 6), (16, 6)]
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def written(samples: np.ndarray, bits: int, colour: int, interlaced: bool, further: dict[bytes, bytes]) -> bytes:
    """A PNG file of samples (height, width, channels) below 2 ** bits, with another filter in each line."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = samples.shape
    lines = b""
    for left, top, across, down in PASSES if interlaced else [(0, 0, 1, 1)]:
        part = samples[top::down, left::across]
        if not part.size:
            continue
        before = np.zeros(-(-part.shape[1] * channels * bits // 8), np.int64)
        for number, row in enumerate(part.reshape(len(part), -1)):
            on = (row[:, None] >> np.arange(bits - 1, -1, -1)) & 1
            line = np.packbits(on.astype(np.uint8).reshape(-1)).astype(np.int64)
            step = max(1, bits * channels // 8)
            back = lambda x, step=step: np.concatenate([np.zeros(step, np.int64), x])[: len(x)]  # noqa: E731
            kind = number % 5
            left_, up, corner = back(line), before, back(before)
            p = left_ + up - corner
            near = np.where(
                (abs(p - left_) <= abs(p - up)) & (abs(p - left_) <= abs(p - corner)), left_,
                np.where(abs(p - up) <= abs(p - corner), up, corner),
            )  # fmt: skip
            guess = [np.zeros_like(line), left_, up, (left_ + up) // 2, near][kind]
            lines += bytes([kind]) + ((line - guess) % 256).astype(np.uint8).tobytes()
            before = line
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    middle = b"".join(chunk(kind, data) for kind, data in further.items())
    pixels = chunk(b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + middle + pixels + chunk(b"IEND", b"")


def files(folder: Path) -> list[Path]:
    draw = np.random.default_rng(0)
    found = []
    for bits, colour in KINDS:
        for interlaced in (False, True):
            for clear in (False, True):
                samples = draw.integers(0, 2**bits, (13, 21, CHANNELS[colour]))
                further = {b"PLTE": draw.bytes(3 * 2**bits)} if colour == 3 else {}
                if clear and colour == 3:
                    further[b"tRNS"] = draw.bytes(2**bits // 2)
                elif clear and (bits == 8 or bits == 1) and colour in (0, 2):
                    further[b"tRNS"] = struct.pack(f">{CHANNELS[colour]}H", *samples[3, 4])
                elif clear:
                    continue
                found.append(folder / f"{bits}-{colour}-{interlaced}-{clear}.png")
                found[-1].write_bytes(written(samples, bits, colour, interlaced, further))
    return found


@needs_node
def test_png_files_are_read_as_by_pillow(tmp_path: Path) -> None:
    made = files(tmp_path)
    for file in made:
        with Pillow.open(file) as picture:
            picture.load()
    wrong = []
    for format in (Image(size=21), Image(size=16, channels=1, background="black")):
        node(
            tmp_path,
            """
            const { reader } = await lib("read.js");
            const pictures = given.files.map((file) => new File([fs.readFileSync(file)], file));
            const { leaves } = await reader(given.reading)(pictures);
            fs.writeFileSync("stored.raw", leaves.x.data);
            """,
            files=[file.name for file in made],
            reading={
                "kind": "image", "size": format.size, "channels": format.channels, "invert": False,
                "background": format.background, "ink": None,
            },
        )  # fmt: skip
        expected = format.store(made).x.numpy()
        found = np.frombuffer((tmp_path / "stored.raw").read_bytes(), np.uint8).reshape(expected.shape)
        wrong += [file.name for file, a, b in zip(made, found, expected, strict=True) if (a != b).any()]
    assert not wrong, wrong
