"""The folder of `--to web`: complete, for any server, at any place; it learns in Chromium and talks to nobody else."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from quickstudy.deploy.export.web import RUNTIME, runtime, write_web
from quickstudy.errors import ConfigError
from quickstudy.formats.ink import Ink
from tests.web.browser import files_served, run
from tests.web.drawings import saved
from tests.web.node_runs import needs_wasm, wasm
from tests.web.page_browser import browser, needs_browser

pytest.importorskip("onnx")

NOTHING = SimpleNamespace(kept=None, names=())
OPEN = """
const { open } = await import(new URL("lib/local.js", location.href));
const brain = await open(new URL("./", location.href).href);
const bytes = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
const picture = ([name, text]) => new File([bytes(text)], name);
"""


def sent(files: list[Path]) -> list[list[str]]:
    return [[file.name, base64.b64encode(file.read_bytes()).decode()] for file in files]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A folder of the page, below another folder."""
    from tests.web import small_export

    folder = tmp_path / "served" / "sub" / "page"
    small_export.write(folder)
    write_web(NOTHING, folder, wasm())
    return folder


@needs_wasm
def test_the_folder_lists_all_that_it_holds(page: Path) -> None:
    files = json.loads((page / "files.json").read_text())["files"]
    assert set(files) == {path.relative_to(page).as_posix() for path in page.rglob("*") if path.is_file()}
    assert {"index.html", "model.json", "embed.onnx", "head.onnx", "lib/local.js", "words/zh.json"} <= set(files)
    assert {f"ort/{name}" for name in RUNTIME} <= set(files)
    html = (page / "index.html").read_text()
    assert html.index("Content-Security-Policy") < html.index("<script") and "//" not in html.replace("http-equiv", "")


def test_what_runs_graphs_is_found_here_above_or_where_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    with pytest.raises(ConfigError, match="npm install onnxruntime-web.*--wasm"):
        runtime(None)
    place = tmp_path / "node_modules" / "onnxruntime-web" / "dist"
    place.mkdir(parents=True)
    with pytest.raises(ConfigError, match="There is no onnxruntime-web"):
        runtime(tmp_path)
    for name in RUNTIME:
        (place / name).write_text("")
    assert runtime(None) == runtime(tmp_path) == runtime(place) == runtime(place.parent) == place


@needs_browser
@needs_wasm
def test_it_learns_in_the_browser_keeps_it_and_talks_to_nobody_else(page: Path, tmp_path: Path) -> None:
    from tests.web.small_export import answered

    files, labels = saved(tmp_path, shapes=3, each=4)
    queries, _ = saved(tmp_path, shapes=3, each=3, seed=50)
    format = Ink()
    probabilities, _ = answered(format.store(files).x.numpy(), np.array(labels), format.store(queries).x.numpy())

    def same(said: list[Any]) -> None:
        for one, row in zip(said, probabilities, strict=True):
            assert list(one["probabilities"].values()) == pytest.approx(row.tolist(), abs=1e-5)

    with files_served(page.parents[1]) as address, browser(tmp_path) as driver:
        driver.get(f"{address}sub/page/")
        said = run(
            driver,
            OPEN + "for (const [i, one] of given[0].entries()) await brain.add(`shape ${given[1][i]}`, [picture(one)]);"
            "return brain.ask(given[2].map(picture));",
            sent(files), labels, sent(queries),
        )  # fmt: skip
        same(said)
        driver.refresh()
        state, said = run(
            driver, OPEN + "return [await brain.state(), await brain.ask(given[0].map(picture))];", sent(queries)
        )
        assert state["names"] == ["shape 0", "shape 1", "shape 2"] and state["versions"] == len(files)
        assert all(example["picture"].startswith("data:image/png") for example in state["examples"])
        same(said)
        size = run(driver, OPEN + "return (await brain.download('web')).size;")
        assert size > sum(path.stat().st_size for path in page.rglob("*") if path.is_file())
        asked = run(driver, "return performance.getEntriesByType('resource').map(({ name }) => name);")
        assert asked and all(name.startswith((f"{address}sub/page/", "data:", "blob:")) for name in asked), asked
        elsewhere = run(
            driver,
            OPEN + "const other = await open(new URL('./', location.href).href); await other.forgetClass('shape 0');"
            "const code = await brain.forgetClass('shape 1').catch((error) => error.code);"
            "const after = await open(new URL('./', location.href).href);"
            "return [code, (await brain.state()).names, (await after.state()).names];",
        )
        assert elsewhere == ["changed_elsewhere", state["names"], state["names"][1:]]
        refused = run(driver, "return fetch('http://127.0.0.1:9/').then(() => 'reached', (error) => error.name);")
        told = [entry["message"] for entry in driver.get_log("browser")]
        assert refused == "TypeError" and any("Content Security Policy" in message for message in told)
        assert not [one for one in told if "Content Security Policy" in one and ":9/" not in one], told


@needs_browser
@needs_wasm
def test_pictures_are_read_alike_in_the_browser(page: Path, tmp_path: Path) -> None:
    """Files that the browser decodes, and not the page: without loss the same, and JPEG files nearly."""
    from PIL import Image as Pillow

    from quickstudy.formats.image import Image

    draw = np.random.default_rng(0)
    small = draw.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    picture = Pillow.fromarray(small).resize((120, 90), Pillow.Resampling.BICUBIC)
    turned = Pillow.Exif()
    turned[0x0112] = 6
    files = []
    for name, options in {"a.bmp": {}, "b.webp": {"lossless": True}, "c.jpg": {"quality": 95, "exif": turned}}.items():
        files.append(tmp_path / name)
        picture.save(files[-1], **options)
    clear = picture.convert("RGBA")
    clear.putalpha(Pillow.fromarray(draw.integers(0, 256, (90, 120), dtype=np.uint8)))
    files.append(tmp_path / "d.webp")
    clear.save(files[-1], lossless=True, exact=True)
    format = Image(size=64)
    reading = {"kind": "image", "size": 64, "channels": 3, "invert": False, "background": "white", "ink": None}
    with files_served(page) as address, browser(tmp_path) as driver:
        driver.get(address)
        found = run(
            driver,
            OPEN + "const { reader } = await import(new URL('lib/read.js', location.href));"
            "const { leaves } = await reader(given[1])(given[0].map(picture)); return Array.from(leaves.x.data);",
            sent(files), reading,
        )  # fmt: skip
    expected = format.store(files).x.numpy().astype(int)
    apart = np.abs(np.array(found).reshape(expected.shape) - expected).reshape(len(files), -1)
    assert apart[:2].max() == 0 and apart[3].max() <= 1
    assert apart[2].mean() < 1.5 and np.quantile(apart[2], 0.99) <= 8
