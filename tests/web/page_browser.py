"""A browser that a test drives, and a server of quickstudy in a process of its own."""

from __future__ import annotations

import io
import math
import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from service_here import server

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-quic --no-first-run "
    "--disable-component-update --disable-sync --use-fake-device-for-media-stream --use-fake-ui-for-media-stream"
)
ELSEWHERE = "page.test"
"""A name of this machine that no browser takes for safe."""
Points = Sequence[tuple[float, float]]

needs_browser = pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="Chromium is not installed")


@contextmanager
def browser(folder: Path, language: str = "en-US") -> Iterator[Any]:
    """Chromium with an empty profile under `folder`, 1400 pixels wide."""
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    own = (f"--user-data-dir={folder / 'profile'}", f"--lang={language}")
    for flag in (*FLAGS.split(), *own, f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1"):
        options.add_argument(flag)
    options.add_experimental_option(
        "prefs", {"intl.accept_languages": language, "download.default_directory": str(folder)}
    )
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        sized(driver, 1400)
        yield driver
    finally:
        driver.quit()


def sized(driver: Any, width: int, height: int = 1000) -> None:
    """Give the page this many pixels."""
    told = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", told)


def dark(driver: Any, wanted: bool) -> None:
    """As a reader who likes the dark."""
    told = {"name": "prefers-color-scheme", "value": "dark" if wanted else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [told]})


@contextmanager
def served(folder: Path, *words: str) -> Iterator[str]:
    """`quickstudy serve` on a port of its own, storing under `folder`: its address."""
    with server(folder / "kept", *words) as here:
        yield here.url


def circle(seed: int) -> Points:
    """A circle somewhere on the sheet, from (-½, -½) to (½, ½)."""
    x, y, radius = _somewhere(seed)
    turns = [2 * math.pi * i / 14 for i in range(15)]
    return [(x + radius * math.cos(turn), y + radius * math.sin(turn)) for turn in turns]


def zigzag(seed: int) -> Points:
    """A Z somewhere on the sheet."""
    x, y, half = _somewhere(seed)
    return [(x - half, y - half), (x + half, y - half), (x - half, y + half), (x + half, y + half)]


def _somewhere(seed: int) -> tuple[float, float, float]:
    draw = random.Random(seed)
    return draw.uniform(-0.1, 0.1), draw.uniform(-0.1, 0.1), draw.uniform(0.2, 0.33)


def stroke(driver: Any, sheet: Any, points: Points) -> None:
    """Draw a line through these points by the mouse: real pointer events on the canvas."""
    from selenium.webdriver.common.action_chains import ActionChains

    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", sheet)
    side = sheet.rect["width"]
    actions = ActionChains(driver, duration=5)
    for i, (x, y) in enumerate(points):
        actions.move_to_element_with_offset(sheet, round(x * side), round(y * side))
        if not i:
            actions.click_and_hold()
    actions.release().perform()


def drawing(points: Points) -> bytes:
    """The same line as a PNG file."""
    from PIL import Image, ImageDraw

    picture, file = Image.new("L", (280, 280), 255), io.BytesIO()
    ImageDraw.Draw(picture).line([(280 * (x + 0.5), 280 * (y + 0.5)) for x, y in points], 0, 9, "curve")
    picture.save(file, "PNG")
    return file.getvalue()
