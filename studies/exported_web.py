"""What graphs say in WebAssembly: the page's own modules, run by node on inputs that were stored already."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from quickstudy.deploy.model import Model
from studies.in_node import node, wasm

_SCRIPT = """
const arrays = {
  float32: Float32Array, float64: Float64Array, int64: BigInt64Array, int32: Int32Array, int16: Int16Array,
  int8: Int8Array, uint8: Uint8Array, bool: Uint8Array,
};
const { graphs } = await lib("graphs.js");
const { learner } = await lib("learner.js");
const { fromJson } = await lib("carried.js");
const ort = await import(given.ort);
ort.env.wasm.numThreads = 1;
const manifest = JSON.parse(fs.readFileSync("page/model.json", "utf8"));
const load = async (file) => new Uint8Array(fs.readFileSync("page/" + file)).buffer;
const bytes = (name) => new Uint8Array(fs.readFileSync(name)).buffer;
const leaves = Object.fromEntries(
  given.inputs.map(({ name, dtype, shape }) => [name, { data: new arrays[dtype](bytes(name + ".raw")), shape }]),
);
const running = graphs(manifest, ort, load);
const outputs = await running.run("model", leaves);
const plain = ({ data, shape }) => ({ data: Array.from(data, Number), shape });
const found = { model: Object.fromEntries(Object.entries(outputs).map(([name, leaf]) => [name, plain(leaf)])) };
if (manifest.graphs.head && manifest.says === "classes") {
  const first = fromJson(JSON.parse(fs.readFileSync("page/examples.json", "utf8")));
  const places = Array.from({ length: leaves[given.inputs[0].name].shape[0] }, (_, i) => i);
  const read = async () => ({ leaves, owners: places, faces: places.map(() => ({})), notices: [] });
  const kept = { found: null, save: async () => {} };
  const brain = await learner({ manifest, graphs: running, read, kept, first, downloads: [], pack: null });
  found.learned = (await brain.ask(places)).map((one) => manifest.names.map((name) => one.probabilities[name]));
}
return found;
"""


def in_wasm(model: Model, inputs: Mapping[str, Tensor], learns: bool, place: Path) -> dict[str, dict[str, Tensor]]:
    """The outputs of the graph 'model', and, where the page can learn, what it says after it learned the model's own
    examples anew; each with the axis of the inputs (n, …) first. place: an empty folder."""
    runtime = wasm()
    if runtime is None:
        raise SystemExit("onnxruntime-web is not installed. Get it: make .web/node_modules/onnxruntime-web")
    model.export(place / "page", to="web", adapt=learns, wasm=runtime)
    described = []
    for name, tensor in inputs.items():
        (place / f"{name}.raw").write_bytes(tensor.contiguous().numpy().tobytes())
        described.append({"name": name, "dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape)})
    found = node(place, _SCRIPT, inputs=described, ort=(runtime / "ort.wasm.min.mjs").as_uri())
    said = {"model": {n: torch.tensor(one["data"]).reshape(one["shape"]) for n, one in found["model"].items()}}
    if "learned" in found:
        said["learned"] = {"probabilities": torch.tensor(found["learned"])}
    return said
