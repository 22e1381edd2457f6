"""Whatever is done to a file that quickstudy wrote, reading it works or ends in one error of ours, on one line."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mutations import damaged_bytes, damaged_json, damaged_tensors

import quickstudy as qs
from quickstudy.errors import QuickstudyError
from quickstudy.inner import MLPRule
from quickstudy.optim.optimizer import load_rule, save_rule
from quickstudy.registry import learners, models, sources
from quickstudy.runs.results import page
from quickstudy.runs.run import Run
from quickstudy.runs.train import resume, train
from quickstudy.storage.tensors import load_tensors, save_tensors
from quickstudy.targets.answers.classes import ClassAnswer
from quickstudy.targets.answers.numbers import NumberAnswer
from quickstudy.training.config import RunConfig
from quickstudy.training.protocol import Protocol

SEEN = [1.0, 3.0, 2.0, 5.0, 4.0, 7.0, 6.0]
X, Y = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 2.0]]), ["a", "b", "b", "a"]


def config(**changes: Any) -> RunConfig:
    made = RunConfig(
        name="fuzzed", tasks=sources.part("linear"), model=models.part("mlp", width=4, depth=1),
        learner=learners.part("maml", lr=0.1), ways=2, shots=2, queries=2, iterations=4, meta_batch=2, validate_every=2,
        validation_episodes=2, calibration_episodes=1, checkpoint_every=2, log_every=1, device="cpu", compile="off",
        vectorize="loop", protocols=(Protocol(name="p", ways=2, shots=1, queries=2, episodes=2),),
    )  # fmt: skip
    return replace(made, **changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, a model, a learned optimizer and a measured recipe, as quickstudy writes them."""
    place = tmp_path_factory.mktemp("whole")
    run = train(config(schedule="CosineAnnealingLR", average=0.5), out=place / "run", quiet=True)
    run.adapt(X, Y).save(place / "model")
    series = config(
        tasks=sources.part("series"), learner=learners.part("anil", lr=0.1), ways=1, shots=8, iterations=1, protocols=()
    )
    train(series, out=place / "series", quiet=True).adapt(SEEN).save(place / "forecast")
    (place / "run" / "plans.json").write_text(json.dumps([{"from": 3, "plan": {"vectorize": "loop"}}]))
    (place / "run" / "splits.json").write_text(json.dumps({"train": [], "val": [], "test": []}))
    rule = MLPRule(1e-3)
    save_rule(place / "rule.safetensors", rule, rule.init_hyper({"": torch.zeros(1)}, torch.Generator().manual_seed(0)))
    (place / "results").mkdir()
    from quickstudy.runs.reproduce import measure

    measure(run, place / "results" / "fuzzed.json")
    return place


@contextmanager
def copied(whole: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(whole, Path(folder, "it"))
        yield Path(folder, "it")


def use(place: Path) -> None:
    run = Run(place / "run", device="cpu")
    run.adapt(X, Y).predict(X)
    _ = run.metrics, run.seconds


def go_on(place: Path) -> None:
    """From the last checkpoint but one: a step is left to do."""
    folder = place / "run"
    max((folder / "checkpoints").iterdir()).unlink()
    resume(folder, quiet=True)


def build(place: Path) -> None:
    """Everything that a run's settings name, and its first episodes; but no training, which may be long by right."""
    parts = Run(place / "run", device="cpu").parts
    parts.check()


def predict(place: Path) -> None:
    answer = qs.load(place / "model", device="cpu").predict(X)
    assert isinstance(answer, ClassAnswer) and bool(torch.isfinite(answer.probabilities).all())


def forecast(place: Path) -> None:
    answer = qs.load(place / "forecast", device="cpu").predict(SEEN, steps=3)
    assert isinstance(answer, NumberAnswer) and bool(torch.isfinite(answer.values).all())


def tabulate(place: Path) -> None:
    page(place / "results")


JSON: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "settings": ("run/config.json", build),
    "settings of a model in use": ("run/config.json", use),
    "plans": ("run/plans.json", go_on),
    "splits": ("run/splits.json", go_on),
    "results": ("results/fuzzed.json", tabulate),
}
TENSORS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "kept model": ("run/model.safetensors", use),
    "checkpoint": ("run/checkpoints/step-000000002.safetensors", go_on),
    "adapted model": ("model/model.safetensors", predict),
    "model of a series": ("forecast/model.safetensors", forecast),
    "learned optimizer": ("rule.safetensors", lambda place: load_rule(place / "rule.safetensors")),
}


def survives(act: Callable[[Path], Any], place: Path) -> None:
    try:
        act(place)
    except QuickstudyError as error:
        told = str(error)
        assert told and len(told) < 3000, f"{told[:100]} …"


FOUND = json.loads(Path(__file__).with_name("found.json").read_text())


@pytest.mark.parametrize("found", FOUND, ids=lambda found: f"{found['of']}-{found.get('put') or found['shapes']}"[:60])
def test_what_was_found_once_is_refused(found: dict[str, Any], whole: Path) -> None:
    """put: the path to what was damaged, and what stood there; nothing where it was gone. shapes: of tensors."""
    file, act = (JSON | TENSORS)[found["of"]]
    tensors, value = ({}, json.loads((whole / file).read_text())) if found["of"] in JSON else load_tensors(whole / file)
    if "put" in found:
        (*path, last), owner = found["put"][0], value
        for name in path:
            owner = owner[name]
        del owner[last]
        if len(found["put"]) > 1:
            owner[last] = found["put"][1]
    for name, shape in found.get("shapes", {}).items():
        assert name in tensors
        tensors[name] = torch.zeros(shape)
    with copied(whole) as place:
        if found["of"] in JSON:
            (place / file).write_text(json.dumps(value))
        else:
            save_tensors(place / file, tensors, value)
        with pytest.raises(QuickstudyError):
            act(place)


@pytest.mark.parametrize("name", JSON)
def test_damaged_json(name: str, whole: Path) -> None:
    file, act = JSON[name]

    @given(damaged_json(json.loads((whole / file).read_text())))
    def fuzz(value: Any) -> None:
        with copied(whole) as place:
            (place / file).write_text(json.dumps(value))
            survives(act, place)

    fuzz()


@given(st.data())
def test_damaged_metrics(whole: Path, data: st.DataObject) -> None:
    lines = [json.loads(line) for line in (whole / "run" / "metrics.jsonl").read_text().splitlines()]
    damaged = data.draw(damaged_json(lines))
    with copied(whole) as place:
        text = "".join(f"{json.dumps(line)}\n" for line in (damaged if isinstance(damaged, list) else [damaged]))
        (place / "run" / "metrics.jsonl").write_text(text)
        survives(use, place)
        survives(go_on, place)


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_damaged_and_checksummed_again(name: str, whole: Path) -> None:
    file, act = TENSORS[name]
    tensors, meta = load_tensors(whole / file)

    @given(st.one_of(st.just(tensors), damaged_tensors(tensors)), st.one_of(st.just(meta), damaged_json(meta)))
    def fuzz(tensors: Any, meta: Any) -> None:
        with copied(whole) as place:
            save_tensors(place / file, tensors, meta)
            survives(act, place)

    fuzz()


@pytest.mark.parametrize("name", [*JSON, *TENSORS])
def test_damaged_bytes(name: str, whole: Path) -> None:
    file, act = (JSON | TENSORS)[name]

    @given(damaged_bytes((whole / file).read_bytes()))
    def fuzz(data: bytes) -> None:
        with copied(whole) as place:
            (place / file).write_bytes(data)
            survives(act, place)

    fuzz()
