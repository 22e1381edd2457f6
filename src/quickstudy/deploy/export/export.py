"""From a model to a folder for programs without quickstudy."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.deploy.export import read
from quickstudy.deploy.export.answering import Answering, answered
from quickstudy.deploy.export.check import check, of_onnx, of_torch
from quickstudy.deploy.export.joined import write_joined
from quickstudy.deploy.export.learning import Embedding, Heading, Learning, embedded
from quickstudy.deploy.export.manifest import NAME, manifest
from quickstudy.deploy.export.onnx_form import LEARNT_CLASSES, require, write_onnx
from quickstudy.deploy.export.program import Graph, traced, write_program
from quickstudy.deploy.export.subject import Subject
from quickstudy.deploy.export.web import write_web
from quickstudy.errors import ConfigError, RunError, unknown_name
from quickstudy.files import synced
from quickstudy.storage.json import write_json

To = Literal["onnx", "torch", "web"]
"""ONNX, a program of torch.export, or ONNX with a page for the browser."""
_SIZES = {"m": 11, "N": 4, "n": 5}  # of the axes in a trace: all of them others
_TRIED = ((1, 2, 2), (9, 30, 3))  # n, m and N that are checked


def export(subject: Subject, folder: Path, to: To, adapt: bool, wasm: Path | None) -> Path:
    """Write the folder, whole or not at all. ConfigError, before anything is written, for what cannot be exported, and
    where a graph does not say what the model says; RunError where something is in the way."""
    if to not in get_args(To):
        raise unknown_name("form of export", to, get_args(To))
    if wasm is not None and to != "web":
        raise ConfigError(f"wasm is of what runs in a browser, and the export is to={to!r}. Leave it out.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder} exists and is not empty. Choose another folder (--out).")
    if to != "torch":
        require("onnx", "onnxscript", "onnxruntime")
    reading = subject.spec.format.reading(subject.fitted)
    if to == "web":
        adapt = adapt or subject.state is None or _learns(subject)
    if adapt:
        embedded(subject)
    elif subject.state is None:
        raise ConfigError(
            f"{subject.name or 'The run'} has not learned a task yet, so that it has no classes and no answers. Export "
            "it with what learns: adapt=True (--with-adapt); or adapt it first, and export that model."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
    building.mkdir()
    try:
        _write(subject, building, "torch" if to == "torch" else "onnx", to, adapt, reading)
        if to == "web":
            write_web(subject, building, wasm)
        for path in (*building.rglob("*"), building):
            synced(path)
        os.rename(building, folder)
    except OSError as error:
        raise RunError(f"Could not write {folder}: {error.strerror}. Nothing was left there.") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def _learns(subject: Subject) -> bool:
    try:
        embedded(subject)
    except ConfigError:
        return False
    return True


def _write(
    subject: Subject, folder: Path, form: Literal["onnx", "torch"], to: To, adapt: bool, reading: dict[str, Any]
) -> None:
    graphs: dict[str, Any] = {}
    opset = 0
    for name, graph in _graphs(subject, adapt, form).items():
        what = f"The graph {name!r} of {subject.config.learner.name} on {subject.spec.format}"
        made, file = traced(graph, what), f"{name}.{'onnx' if form == 'onnx' else 'pt2'}"
        if form == "onnx":
            opset = write_onnx(made, folder / file, what)
            check(of_onnx(folder / file, graph), graph, what)
            made.described["inputs"] = [one for one in made.described["inputs"] if one["name"] != LEARNT_CLASSES]
        else:
            write_program(made, folder / file)
            check(of_torch(folder / file, graph), graph, what)
        graphs[name] = {"file": file, **made.described}
    if adapt and form == "onnx":
        given = [one["name"] for one in graphs["embed"]["inputs"]]
        whole = _whole(subject)
        write_joined(folder / "embed.onnx", folder / "head.onnx", given, folder / "adapt.onnx")
        check(of_onnx(folder / "adapt.onnx", whole), whole, f"The graph 'adapt' of {subject.config.learner.name}")
        support = [
            {**one, "name": f"support_{one['name']}", "shape": ["m", *one["shape"][1:]]}
            for one in graphs["embed"]["inputs"]
        ]
        labels = [one for one in graphs["head"]["inputs"] if one["name"] == "labels"]
        graphs["adapt"] = {
            "file": "adapt.onnx",
            "inputs": [*support, *labels, *graphs["embed"]["inputs"]],
            "outputs": graphs["head"]["outputs"],
        }
    write_json(folder / NAME, manifest(subject, to, graphs, reading, opset))
    shutil.copyfile(read.__file__, folder / "read.py")


def _graphs(subject: Subject, adapt: bool, form: str) -> dict[str, Graph]:
    """Those that are traced, by name."""
    given = _entering(subject, 0, _SIZES["n"])
    names = list(given)
    free = dict.fromkeys(names, "n")
    tried = [list(_entering(subject, 1 + i, n).values()) for i, (n, _, _) in enumerate(_TRIED)]
    found: dict[str, Graph] = {}
    if subject.state is not None:
        kept = _kept(subject)
        found["model"] = Graph(Answering(subject, names), free, list(given.values()), [*tried, *kept])
    if not adapt:
        return found
    if form == "torch":
        return found | {"adapt": _whole(subject)}
    embed = Embedding(subject, names)
    found["embed"] = Graph(embed, free, list(given.values()), tried)

    def embeddings(seed: int, count: int) -> Tensor:
        return answered(embed, *_entering(subject, seed, count).values())["embedding"]

    axes = {"support_embedding": "m", "labels": "m", LEARNT_CLASSES: "N", "embedding": "n"}
    if not subject.spec.ways:
        del axes[LEARNT_CLASSES]

    def entering(seed: int, m: int, ways: int, n: int) -> list[Tensor]:
        return [embeddings(seed, m), *_labels(subject, m, ways), embeddings(seed + 50, n)]

    shown = entering(0, _SIZES["m"], _SIZES["N"], _SIZES["n"])
    checked = [entering(1 + i, m, ways, n) for i, (n, m, ways) in enumerate(_TRIED)]
    return found | {"head": Graph(Heading(subject), axes, shown, checked)}


def _whole(subject: Subject) -> Graph:
    """What learns and answers in one."""
    names = list(_entering(subject, 0, 1))
    axes = {f"support_{name}": "m" for name in names} | {"labels": "m"}
    axes |= ({LEARNT_CLASSES: "N"} if subject.spec.ways else {}) | dict.fromkeys(names, "n")

    def entering(seed: int, m: int, ways: int, n: int) -> list[Tensor]:
        support, queries = (_entering(subject, one, count).values() for one, count in ((seed, m), (seed + 50, n)))
        return [*support, *_labels(subject, m, ways), *queries]

    shown = entering(0, _SIZES["m"], _SIZES["N"], _SIZES["n"])
    checked = [entering(1 + i, m, ways, n) for i, (n, m, ways) in enumerate(_TRIED)]
    return Graph(Learning(subject, names), axes, shown, checked)


def _labels(subject: Subject, m: int, ways: int) -> Sequence[Tensor]:
    if subject.spec.ways:
        return [torch.arange(m) % ways, torch.arange(ways)]
    return [rng.normal(rng.key(0, "labels"), (m, *subject.spec.target.shape))]


def _entering(subject: Subject, seed: int, count: int) -> dict[str, Tensor]:
    """Made-up records as they go into a graph."""
    return subject.spec.format.tried(rng.key(seed, "export"), count, subject.fitted)


def _kept(subject: Subject) -> list[list[Tensor]]:
    """Some of the support examples, where they are kept, and as files had them."""
    if subject.kept is None:
        return []
    given = subject.spec.format.entering(subject.kept.x, subject.fitted)
    like = _entering(subject, 0, 1)
    if any(given[name].dtype != tensor.dtype for name, tensor in like.items()):
        return []
    return [[given[name][-32:] for name in like]]
