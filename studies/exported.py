"""What exported graphs say beside what models say, in onnxruntime, in PyTorch and in the page, and how long they take.

`python -m studies exported` adapts networks that nobody has trained (rounding is the same in all) and counts, of 1,000
made-up inputs of each format, those whose likeliest class is another though it is likelier than the next by 1e-4.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

import quickstudy as qs
from quickstudy import rng
from quickstudy.deploy.adapt import Given, adapt
from quickstudy.deploy.export.answering import Answering, answered
from quickstudy.deploy.export.check import of_onnx, of_torch, others
from quickstudy.deploy.export.program import Graph
from quickstudy.deploy.export.subject import Subject
from quickstudy.deploy.model import Model
from quickstudy.registry import formats, learners, models, targets
from quickstudy.spec import TaskSpec
from quickstudy.storage.json import read_json
from quickstudy.training.learner import build_learner
from studies.common import RESULTS, store
from studies.exported_web import in_wasm

INPUTS, TIMES, EXAMPLES = 1000, 50, 20
WAYS = ("onnx", "torch", "web")
LEARNERS = ("protonet", "r2d2", "matchingnet", "maml", "finetune", "incontext")
CLOSED = ("protonet", "r2d2", "matchingnet")  # which go along with what adapts them
FORMATS: dict[str, tuple[Callable[[], Any], str, dict[str, Any]]] = {
    "image": (lambda: formats.make("image", size=28, channels=1), "conv4", {"norm_layer": "group"}),
    "table": (lambda: formats.make("table", columns=8), "mlp", {}),
    "text": (lambda: formats.make("text", length=24, vocabulary=300).learn(_TEXTS), "ngrams", {"size": 512}),
    "series": (lambda: formats.make("series", window=16), "lstm", {}),
}
_TEXTS = ["the cat sat on the mat", "rain falls on green hills", "she reads a long book", "fish swim in the sea"] * 3


def _adapted(name: str, learner: str) -> Model:
    make, network, options = FORMATS[name]
    format = make()
    spec = TaskSpec(format, targets.make("numbers") if format.labels_itself else targets.make("classes", ways=5))
    part = models.part("columns") if (name, learner) == ("table", "incontext") else models.part(network, **options)
    built = build_learner(qs.RunConfig(name="m", model=part, learner=learners.part(learner)), spec)
    config = qs.RunConfig(name="m", model=part, learner=learners.part(learner))
    labels = None if format.labels_itself else [f"c{i % 5}" for i in range(EXAMPLES)]
    walk = rng.normal(rng.key(1), (60,)).cumsum(0)
    records: Any = walk if format.labels_itself else format.tried(rng.key(1), EXAMPLES, {})
    records = records["x"] if isinstance(records, dict) and "x" in records else records
    params = built.init(torch.Generator().manual_seed(0))
    return adapt(config, built, params, Given(records=records, labels=labels))


def _seconds(call: Callable[[], Any]) -> float:
    call()
    taken = []
    for _ in range(TIMES):
        start = perf_counter()
        call()
        taken.append(perf_counter() - start)
    return median(taken)


def _asked(model: Model) -> tuple[Answering, Graph]:
    """What is asked of a model, and of what it became."""
    subject = Subject.adapted(model)
    given = subject.spec.format.tried(rng.key(2), INPUTS, subject.fitted)
    module = Answering(subject, list(given))
    return module, Graph(module, dict.fromkeys(given, "n"), list(given.values()))


def _away(said: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> float:
    """The largest difference of any output but the raw predictions."""
    return max(
        float((said[n].double() - t.double()).abs().max()) for n, t in truth.items() if n != "logits" and n in said
    )


def _measured(model: Model, to: Any) -> dict[str, Any]:
    module, graph = _asked(model)
    with tempfile.TemporaryDirectory() as place:
        folder = model.export(Path(place) / "out", to=to)
        run = of_torch(folder / "model.pt2", graph) if to == "torch" else of_onnx(folder / "model.onnx", graph)
        said, truth = run(graph.examples), answered(module, *graph.examples)
        one: Sequence[Tensor] = [tensor[:1] for tensor in graph.examples]
        return {
            "others": len(others(said, truth)) if "probabilities" in truth else 0,
            "away": _away(said, truth),
            "milliseconds": 1e3 * _seconds(lambda: run(one)),
            "eager": 1e3 * _seconds(lambda: answered(module, *one)),
        }


def _in_the_page(model: Model, learns: bool) -> dict[str, Any]:
    """As it came and, where the page can learn, after it did; without times, which `in_browser` measures."""
    module, graph = _asked(model)
    truth = answered(module, *graph.examples)
    with tempfile.TemporaryDirectory() as place:
        each = in_wasm(model, dict(zip(graph.inputs, graph.examples, strict=True)), learns, Path(place))
    told = "probabilities" in truth
    return {
        "others": sum(len(others(said, truth)) for said in each.values()) if told else 0,
        "away": max(_away(said, truth) for said in each.values()),
        "learned": "learned" in each,
    }


def exported() -> None:
    """Write studies/results/exported.json.

    QUICKSTUDY_ONLY: some of `WAYS`, separated by commas; what is stored of others is kept.
    """
    path, only = RESULTS / "exported.json", os.environ.get("QUICKSTUDY_ONLY", ",".join(WAYS)).split(",")
    before: dict[str, Any] = read_json(path)["found"] if path.exists() else {}
    found: dict[str, Any] = {}
    for name in FORMATS:
        for learner in LEARNERS:
            if name == "series" and learner in ("protonet", "matchingnet", "finetune"):  # which tell classes apart
                continue
            model = _adapted(name, learner)
            learns = learner in CLOSED and not model.spec.format.labels_itself
            for to in WAYS:
                key = f"{name} {learner} {to}"
                if to in only:
                    found[key] = _in_the_page(model, learns) if to == "web" else _measured(model, to)
                    print(key, found[key], flush=True)
                elif key in before:
                    found[key] = before[key]
    store("exported", {"inputs": INPUTS, "found": found})
