"""How long the page of `--to web` takes to learn in a browser: the shipped handwriting model, five drawings of each of
five shapes, in Chromium without a screen, in one thread of WebAssembly.

`python -m studies.in_browser WASM` exports the model, serves the folder and measures. WASM: where onnxruntime-web is.
"""

from __future__ import annotations

import functools
import http.server
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

import quickstudy as qs
from studies.common import store

CLASSES, EACH, TIMES, SIDE = 5, 5, 30, 280
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-quic --no-first-run "
    "--disable-component-update --disable-sync"
)
MEASURED = """
const [drawings, times, done] = arguments;
(async () => {
  const at = (name) => import(new URL(name, location.href));
  const base = new URL("./", location.href).href;
  const { graphs, runtime } = await at("lib/graphs.js");
  const { reader } = await at("lib/read.js");
  const manifest = await (await fetch("model.json")).json();
  const ort = await runtime(base);
  const opening = performance.now();
  const running = graphs(manifest, ort, async (file) => (await fetch(file)).arrayBuffer());
  await running.warm("embed");
  await running.warm("head");
  const opened = performance.now() - opening;
  const read = reader(manifest.reading);
  const files = drawings.map(([, bytes], i) => new File([new Uint8Array(bytes)], `${i}.png`));
  const labels = { data: BigInt64Array.from(drawings, ([label]) => BigInt(label)), shape: [files.length] };
  const found = { reading: [], embedding: [], head: [], learning: [], one: [] };
  for (let i = 0; i < times; i++) {
    const t = [performance.now()];
    const { leaves } = await read(files);
    t.push(performance.now());
    const { embedding } = await running.run("embed", leaves);
    t.push(performance.now());
    const first = { data: embedding.data.slice(0, embedding.shape[1]), shape: [1, embedding.shape[1]] };
    await running.run("head", { support_embedding: embedding, labels, embedding: first });
    t.push(performance.now());
    found.reading.push(t[1] - t[0]);
    found.embedding.push(t[2] - t[1]);
    found.head.push(t[3] - t[2]);
    found.learning.push(t[3] - t[1]);
    const { leaves: single } = await read(files.slice(0, 1));
    const asked = await running.run("embed", single);
    await running.run("head", { support_embedding: embedding, labels, embedding: asked.embedding });
    found.one.push(performance.now() - t[3]);
  }
  return { opened, ...found };
})().then((value) => done({ value }), (error) => done({ error: String(error.stack) }));
"""


def drawing(shape: int, seed: int) -> Image.Image:
    """A line through corners that are those of the shape, each a little moved."""
    corners = np.random.default_rng(shape).uniform(0.2, 0.8, (5, 2))
    corners += np.random.default_rng((shape, seed)).normal(0, 0.03, corners.shape)
    image = Image.new("L", (SIDE, SIDE), 255)
    ImageDraw.Draw(image).line([tuple(corner * SIDE) for corner in corners], fill=0, width=9, joint="curve")
    return image


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files, without a line for each."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


def measured(folder: Path, drawings: list[Any]) -> dict[str, Any]:
    """Milliseconds of each part, in the browser."""
    from selenium import webdriver

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for flag in (*FLAGS.split(), f"--user-data-dir={folder.parent / 'profile'}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
        try:
            driver.set_script_timeout(300)
            driver.get(f"http://127.0.0.1:{server.server_port}/")
            found = driver.execute_async_script(MEASURED, drawings, TIMES)
            version = driver.capabilities["browserVersion"]
        finally:
            driver.quit()
            server.shutdown()
    if "error" in found:
        raise RuntimeError(found["error"])
    return {"chromium": version, **found["value"]}


def main(wasm: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files, labels = [], []
        for label in range(CLASSES):
            for i in range(EACH):
                files.append(folder / f"{label}-{i}.png")
                drawing(label, i).save(files[-1])
                labels.append(label)
        model = qs.pretrained("handwriting", device="cpu").adapt(files, [f"shape {label}" for label in labels])
        model.export(folder / "page", to="web", adapt=True, wasm=wasm)
        sent = [[label, list(file.read_bytes())] for label, file in zip(labels, files, strict=True)]
        found = measured(folder / "page", sent)
    said: dict[str, Any] = {"classes": CLASSES, "each": EACH, "times": TIMES, "opened_ms": round(found.pop("opened"))}
    said["load"] = [round(one, 1) for one in os.getloadavg()]
    said["chromium"] = found.pop("chromium")
    for name, times in found.items():
        said[f"{name}_ms"] = {
            "least": round(min(times), 1), "median": round(float(np.median(times)), 1),
            "95 %": round(float(np.quantile(times, 0.95)), 1),
        }  # fmt: skip
    print(said)
    store("in_browser", said)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
