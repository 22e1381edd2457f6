"""The learner in the page, run by node: it answers as the graphs do, takes back, refuses, and packs what it learned."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quickstudy.formats.ink import Ink
from tests.web.drawings import saved
from tests.web.node_runs import needs_node, needs_wasm, node, wasm

pytest.importorskip("onnx")

BRAIN = """
const { graphs } = await lib("graphs.js");
const { learner } = await lib("learner.js");
const { reader } = await lib("read.js");
const ort = await import(given.ort);
ort.env.wasm.numThreads = 1;
const manifest = JSON.parse(fs.readFileSync("model.json", "utf8"));
const load = async (file) => new Uint8Array(fs.readFileSync(file)).buffer;
const saves = [];
const kept = { found: null, save: async (change) => void saves.push(change) };
const brain = await learner({
  manifest, graphs: graphs(manifest, ort, load), read: reader(manifest.reading), kept, downloads: ["onnx"],
  pack: async (what, examples, names) => {
    const { toJson } = await lib("carried.js");
    const { zip } = await lib("zip.js");
    const bytes = new TextEncoder().encode(JSON.stringify(toJson(examples, names)));
    return zip([{ name: "examples.json", bytes }, { name: "é/x", bytes: new Uint8Array(3) }]);
  },
});
const picture = (file) => new File([fs.readFileSync(file)], file, { type: "image/png" });
const refused = async (act) => { try { await act(); return null; } catch (error) { return error.code; } };
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from tests.web import small_export

    small_export.write(tmp_path)
    return tmp_path


def run(folder: Path, script: str, **given: Any) -> Any:
    place = wasm()
    assert place is not None
    return node(folder, BRAIN + script, ort=(place / "ort.wasm.min.mjs").as_uri(), **given)


@needs_node
@needs_wasm
def test_answers_are_those_of_the_graphs(folder: Path) -> None:
    from tests.web.small_export import answered

    files, labels = saved(folder, shapes=3, each=4)
    queries, _ = saved(folder, shapes=4, each=5, seed=50)
    found = run(
        folder,
        """
        for (const [i, file] of given.files.entries()) await brain.add(`shape ${given.labels[i]}`, [picture(file)]);
        const said = await brain.ask(given.queries.map(picture));
        return { said, state: await brain.state(), about: await brain.about() };
        """,
        files=[file.name for file in files],
        labels=labels,
        queries=[file.name for file in queries],
    )
    format = Ink()
    probabilities, known = answered(
        format.store(files).x.numpy(), np.array(labels), format.store(queries).x.numpy()
    )  # the same pixels, by Python
    assert found["state"]["names"] == ["shape 0", "shape 1", "shape 2"] and found["state"]["versions"] == len(files)
    assert found["about"]["learns"] and found["about"]["format"]["kind"] == "image"
    by_id = {example["id"]: example["label"] for example in found["state"]["examples"]}
    for said, row, one in zip(found["said"], probabilities, known, strict=True):
        assert list(said["probabilities"].values()) == pytest.approx(row.tolist(), abs=1e-5)
        assert said["label"] == f"shape {row.argmax()}" and said["refused"] == (one < 0.5)
        similar = [near["similarity"] for near in said["nearest"]]
        assert len(similar) == 3 and similar == sorted(similar, reverse=True) and similar[0] <= 1.00001
        assert all(near["id"] in by_id for near in said["nearest"])


@needs_node
@needs_wasm
def test_what_is_taken_back_is_as_if_it_had_never_been(folder: Path) -> None:
    files, _ = saved(folder, shapes=3, each=2)
    found = run(
        folder,
        """
        const files = given.files.map(picture);
        await brain.add("a", files.slice(0, 2));
        await brain.add("b", files.slice(2, 4));
        const before = await brain.ask(files);
        const with_c = await brain.add("c", files.slice(4));
        const names = [with_c.names, (await brain.forgetClass("c")).names];
        const without = await brain.ask(files);
        names.push((await brain.undo()).names);
        const state = await brain.undo();
        const undone = await brain.ask(files);
        const first = state.examples[0].id;
        const left = (await brain.forget(first)).examples.map(({ id }) => id);
        const gone = saves.at(-1).versions.flat().includes(first);
        const strip = (answers) => answers.map(({ probabilities }) => probabilities);
        return { before: strip(before), without: strip(without), undone: strip(undone), names, first, left, gone };
        """,
        files=[file.name for file in files],
    )
    assert found["names"] == [["a", "b", "c"], ["a", "b"], ["a", "b", "c"]]
    assert found["before"] == found["without"] == found["undone"]
    assert found["first"] not in found["left"] and len(found["left"]) == 3 and found["gone"]


@needs_node
@needs_wasm
def test_refusals_name_their_reason_and_change_nothing(folder: Path) -> None:
    files, _ = saved(folder, shapes=2, each=1)
    (folder / "text.png").write_text("no picture")
    cut = (folder / files[0].name).read_bytes()
    (folder / "cut.png").write_bytes(cut[: len(cut) // 2])
    found = run(
        folder,
        """
        const [one, two] = given.files.map(picture);
        const codes = [
          await refused(() => brain.ask([one])), await refused(() => brain.undo()),
          await refused(() => brain.forget("x")), await refused(() => brain.add(" ", [one])),
          await refused(() => brain.add("a", ["text"])),
          await refused(() => brain.add("a", [one, picture("cut.png")])),
          await refused(() => brain.download("model")),
        ];
        await brain.add("a", [one]);
        codes.push(await refused(() => brain.ask([two])));
        return { codes, count: (await brain.state()).examples.length };
        """,
        files=[file.name for file in files],
    )
    assert found["codes"] == [
        "too_few", "nothing_to_undo", "not_found", "no_label", "no_file", "unreadable", "no_download", "too_few",
    ]  # fmt: skip
    assert found["count"] == 1


@needs_node
@needs_wasm
def test_a_download_holds_the_examples_and_starts_another_page(folder: Path) -> None:
    files, labels = saved(folder, shapes=2, each=3)
    script = """
    for (const [i, file] of given.files.entries()) await brain.add(`shape ${given.labels[i]}`, [picture(file)]);
    fs.writeFileSync("all.zip", new Uint8Array(await (await brain.download("onnx")).arrayBuffer()));
    return (await brain.ask(given.files.map(picture))).map(({ probabilities }) => probabilities);
    """
    names = [file.name for file in files]
    said = run(folder, script, files=names, labels=labels)
    with zipfile.ZipFile(folder / "all.zip") as packed:
        assert packed.testzip() is None and packed.namelist() == ["examples.json", "é/x"]
        told = json.loads(packed.read("examples.json"))
    assert told["names"] == ["shape 0", "shape 1"] and len(told["examples"]) == len(files)
    again = run(
        folder,
        """
        const { fromJson } = await lib("carried.js");
        const other = await learner({
          manifest, graphs: graphs(manifest, ort, load), read: reader(manifest.reading), kept, downloads: [],
          pack: null, first: fromJson(given.told),
        });
        return (await other.ask(given.files.map(picture))).map(({ probabilities }) => probabilities);
        """,
        files=names,
        told=told,
    )
    assert again == said
