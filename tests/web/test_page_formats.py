"""Models of texts, rows, series and recordings as pages: of the same records they say what they say here."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quickstudy as qs
from quickstudy.registry import learners, models, sources
from quickstudy.training.config import RunConfig
from tests.web.node_runs import needs_node, needs_wasm, node, wasm

for _needed in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(_needed)

pytestmark = [needs_node, needs_wasm]
ASKED = """
globalThis.fetch = async (address) => new Response(fs.readFileSync(new URL(address)));
const { graphs } = await lib("graphs.js");
const { learner } = await lib("learner.js");
const { reader } = await lib("read.js");
const ort = await import(given.ort);
ort.env.wasm.numThreads = 1;
const manifest = JSON.parse(fs.readFileSync("page/model.json", "utf8"));
const load = async (file) => new Uint8Array(fs.readFileSync("page/" + file)).buffer;
const record = (one) => (one?.file ? new File([Buffer.from(one.file, "base64")], one.name) : one);
const brain = await learner({
  manifest, graphs: graphs(manifest, ort, load), read: reader(manifest.reading), downloads: [], pack: null,
  kept: { found: null, save: async () => {} },
});
for (const [label, one] of given.shown ?? []) await brain.add(label, [record(one)]);
return { said: await brain.ask(given.asked.map(record), given.options ?? {}), about: await brain.about() };
"""
SMALL: dict[str, Any] = {
    "iterations": 2, "validate_every": 2, "validation_episodes": 4, "calibration_episodes": 1, "meta_batch": 2,
    "device": "cpu", "compile": "off", "precision": "float32", "average": 0.0,
}  # fmt: skip
WORDS = ("card", "refund", "银行卡", "loan", "汇率", "queue", "fee", "pin", "limit", "bank")


def asked(folder: Path, records: list[Any], **given: Any) -> dict[str, Any]:
    place = wasm()
    assert place is not None
    found: dict[str, Any] = node(folder, ASKED, asked=records, ort=(place / "ort.wasm.min.mjs").as_uri(), **given)
    return found


def same(said: list[Any], answer: Any, near: float = 1e-4) -> None:
    p = np.array([list(one["probabilities"].values()) for one in said])
    assert np.abs(p - answer.probabilities.numpy()).max() < near
    assert [one["label"] for one in said] == answer.names


def test_texts(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    rows = [f"{turn} the {word} {turn} please,about {word}\n" for word in WORDS for turn in "abcdefghijkl"]
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(rows), encoding="utf-8")
    source = sources.part("text", path=str(tmp_path / "a.csv"), length=24, vocabulary=320)
    config = replace(qs.recipes.text(), tasks=source, ways=2, train_ways=3, train_shots=3, **SMALL)
    run = qs.train(config, out=tmp_path / "run", quiet=True)
    shown = [("one", "Where is my CARD?"), ("two", "a queue, again"), ("one", "银行卡在哪里"), ("two", "the queue…")]
    model = run.adapt([text for _, text in shown], [label for label, _ in shown])
    model.export(tmp_path / "page", to="web", wasm=wasm())
    texts = ["my card  please", "QUEUE ａｂｃ", "汇率是多少？", "x" * 200, "naïve 👍"]
    for given in ({}, {"shown": shown}):
        found = asked(tmp_path, texts, **given)
        assert found["about"]["learns"] and found["about"]["format"]["kind"] == "text"
        same(found["said"], model.predict(texts))


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_rows(kind: str, tmp_path: Path) -> None:
    rows = [
        {
            "size": f"{i % 5 + 0.5}" if i % 7 else "",
            "town": ("Bonn", "Ulm", "Rom")[i % 3],
            "sold": f"2024-0{i % 8 + 1}-11",
        }
        for i in range(24)
    ]
    labels: list[Any] = [("a", "b")[i % 3 == 0] if kind == "classes" else 2.0 * (i % 5) + i % 3 for i in range(24)]
    model = qs.pretrained(f"tables-{kind}", device="cpu").adapt(rows, labels)
    model.export(tmp_path / "page", to="web", wasm=wasm())
    new = [{"size": "3.25", "town": "Ulm", "sold": "2024-05-01T12:00"}, {"size": "NA", "town": "Rom", "sold": ""}]
    found = asked(tmp_path, new)
    assert not found["about"]["learns"] and found["about"]["target"] == kind
    answer: Any = model.predict(new) if kind == "classes" else model.predict(new, coverage=0.9)
    if kind == "classes":
        same(found["said"], answer)
    else:
        assert [one["value"] for one in found["said"]] == pytest.approx(answer.values.flatten().tolist(), abs=1e-3)
        ends = [(one["low"], one["high"]) for one in found["said"]]
        assert np.array(ends) == pytest.approx(np.stack([answer.low.flatten(), answer.high.flatten()], 1), abs=1e-2)


def test_series(tmp_path: Path) -> None:
    config = replace(
        qs.recipes.lines_lstm(),
        tasks=sources.part("series", kind="lines", window=6, normalise=True),
        model=models.part("lstm", width=12),
        learner=learners.part("maml", lr=0.05, steps=2),
        **SMALL,
    )
    values = [2000.0 - 30.0 * i + (i % 3) for i in range(12)]
    model = qs.train(config, out=tmp_path / "run", quiet=True).adapt(values)
    model.export(tmp_path / "page", to="web", wasm=wasm())
    found = asked(tmp_path, [values, values[:3]], options={"steps": 4})
    for one, seen in zip(found["said"], (values, values[:3]), strict=True):
        expected: Any = model.predict(seen, steps=4)
        assert one["value"] == pytest.approx(expected.values.tolist(), rel=1e-5)


def test_recordings(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    draw = np.random.default_rng(0)
    time = np.arange(8000) / 8000
    files: Callable[[str], Path] = lambda name: tmp_path / "tones" / name  # noqa: E731
    for c in range(9):
        for i in range(6):
            files(f"c{c}").mkdir(parents=True, exist_ok=True)
            wave = 0.3 * np.sin(2 * np.pi * (200 + 150 * c + 3 * i) * time[: 2400 + 800 * (i % 4)])
            soundfile.write(files(f"c{c}/{i}.wav"), wave + 0.01 * draw.standard_normal(len(wave)), 8000)
    options = {"rate": 8000, "seconds": 0.4, "mels": 16, "normalise": "clip", "val": 0.34, "test": 0.33}
    config = RunConfig(
        name="tones", tasks=sources.part("audio", root=str(tmp_path / "tones"), **options), ways=3, shots=1, queries=2,
        model=models.part("conv4", width=8), learner=learners.part("protonet", norm="running"), **SMALL,
    )  # fmt: skip
    run = qs.train(config, out=tmp_path / "run", quiet=True)
    given = [files(f"c{c}/{i}.wav") for c in (0, 4, 8) for i in (0, 1)]
    model = run.adapt(given, [file.parent.name for file in given])
    model.export(tmp_path / "page", to="web", wasm=wasm())
    queries = [files(f"c{c}/{i}.wav") for c in (0, 4, 8) for i in (2, 3, 5)]
    sent = [{"name": file.name, "file": base64.b64encode(file.read_bytes()).decode()} for file in (*given, *queries)]
    shown = [(file.parent.name, one) for file, one in zip(given, sent, strict=False)]
    for more in ({}, {"shown": shown}):
        same(asked(tmp_path, sent[len(given) :], **more)["said"], model.predict(queries), near=1e-3)
