"""The shipped handwriting model as a page: it answers as here, with the examples that it has kept, and learns on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy.deploy.model import Model
from quickstudy.formats.records import all_kept
from tests.web.browser import files_served, run
from tests.web.drawings import drawing, saved
from tests.web.node_runs import needs_node, needs_wasm, node, wasm
from tests.web.page_browser import browser, needs_browser

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

pytestmark = needs_wasm
ASKED = """
const { graphs } = await lib("graphs.js");
const { learner } = await lib("learner.js");
const { fromJson } = await lib("carried.js");
const ort = await import(given.ort);
ort.env.wasm.numThreads = 1;
const manifest = JSON.parse(fs.readFileSync(given.exported + "/model.json", "utf8"));
const load = async (file) => new Uint8Array(fs.readFileSync(given.exported + "/" + file)).buffer;
const pixels = new Uint8Array(fs.readFileSync("asked.raw"));
const size = 28 * 28;
const read = async (places) => ({
  leaves: {
    x: {
      data: new Uint8Array(places.flatMap((i) => [...pixels.subarray(i * size, (i + 1) * size)])),
      shape: [places.length, 1, 28, 28],
    },
  },
  owners: places.map((_, i) => i), faces: places.map(() => ({})), notices: [],
});
const kept = { found: null, save: async () => {} };
const places = Array.from({ length: pixels.length / size }, (_, i) => i);
const said = {};
const examples = fromJson(JSON.parse(fs.readFileSync(given.exported + "/examples.json", "utf8")));
for (const [name, first] of [["as it came", []], ["learned here", examples]]) {
  const running = graphs(manifest, ort, load);
  const brain = await learner({ manifest, graphs: running, read, kept, first, downloads: [], pack: null });
  said[name] = { answers: await brain.ask(places), state: await brain.state() };
}
return said;
"""  # fmt: skip


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """Five drawings of five shapes, and the folder of the page that knows them."""
    place = tmp_path_factory.mktemp("exported")
    files, labels = saved(place, shapes=5, each=5)
    model = qs.pretrained("handwriting", device="cpu").adapt(files, [f"shape {label}" for label in labels])
    model.export(place / "page", to="web", adapt=True, wasm=wasm())
    return model, place / "page"


def drawings(model: Model, count: int) -> Tensor:
    """Stored drawings of all shapes, of which some were never shown, and some that are half one and half another."""
    made = model.spec.format.store([drawing(i % 7, 1000 + i, side=70) for i in range(count)]).x
    assert isinstance(made, Tensor)
    mixed = (made.float() * 0.5 + made.roll(1, 0).float() * 0.5).to(torch.uint8)
    return torch.where(torch.arange(count)[:, None, None, None] % 3 == 0, mixed, made)


@needs_node
def test_a_thousand_answers_are_those_of_python(taught: tuple[Model, Path], tmp_path: Path) -> None:
    model, folder = taught
    x = drawings(model, 1000)
    (tmp_path / "asked.raw").write_bytes(x.numpy().tobytes())
    place = wasm()
    assert place is not None
    found = node(tmp_path, ASKED, ort=(place / "ort.wasm.min.mjs").as_uri(), exported=str(folder))
    answer: Any = model.answer(all_kept(x), false_alarms=0.05)
    best = answer.probabilities.topk(2).values
    margin = best[:, 0] - best[:, 1]
    for name, page in found.items():
        said = page["answers"]
        p = np.array([list(one["probabilities"].values()) for one in said])
        assert np.abs(p - answer.probabilities.numpy()).max() < 1e-4, name
        others = [i for i, one in enumerate(said) if one["label"] != answer.names[i]]
        assert not [i for i in others if margin[i] > 1e-4], name
        known = np.array([one["known"] for one in said])
        assert np.abs(known - answer.known.numpy()).max() < 1e-3, name
        near = np.abs(known - float(json.loads((folder / "model.json").read_text())["trust"]["known_least"]["0.05"]))
        refused = np.array([one["refused"] for one in said])
        assert ((refused == answer.refused.numpy()) | (near < 1e-3)).all(), name
        assert 0 < refused.sum() < len(refused)
        estimate = page["state"]["estimate"]
        assert [estimate[end] for end in ("mean", "low", "high")] == pytest.approx(
            [model.estimate.mean, model.estimate.low, model.estimate.high], abs=1e-4
        )


@needs_browser
def test_it_begins_with_its_examples_and_learns_on(taught: tuple[Model, Path], tmp_path: Path) -> None:
    model, folder = taught
    files, _ = saved(tmp_path, shapes=6, each=2, seed=50)
    fresh = [file for file in files if file.name.startswith("5-")]
    sent = [[file.name, list(file.read_bytes())] for file in files]
    with files_served(folder) as address, browser(tmp_path) as driver:
        driver.get(address)
        state, said, after, again = run(
            driver,
            "const { open } = await import(new URL('lib/local.js', location.href));"
            "const brain = await open(new URL('./', location.href).href);"
            "const files = given[0].map(([name, bytes]) => new File([new Uint8Array(bytes)], name));"
            "const state = await brain.state(); const said = await brain.ask(files);"
            "const after = await brain.add('shape 5', files.filter(({ name }) => name.startsWith('5-')));"
            "return [state, said, after, await brain.ask(files)];",
            sent,
        )
    assert state["names"] == list(model.names) and len(state["examples"]) == 25 and state["versions"] == 0
    assert all(one["picture"].startswith("data:image/png") for one in state["examples"])
    assert [one["label"] for one in said] == model.predict(files).names
    grown = model.more(fresh, ["shape 5"] * 2)
    assert after["names"] == list(grown.names) and after["versions"] == 1
    answer = grown.predict(files)
    assert [one["label"] for one in again] == answer.names
    p = np.array([list(one["probabilities"].values()) for one in again])
    assert np.abs(p - answer.probabilities.numpy()).max() < 1e-3
    assert after["estimate"]["mean"] == pytest.approx(grown.estimate.mean, abs=1e-3)
