"""Programs of torch.export as ONNX, of which onnxruntime runs every operation."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from quickstudy.deploy.export.program import Program, quiet
from quickstudy.errors import ConfigError, MissingExtra

_OPSET = 18  # in which the exporter translates, before it converts to others
LEARNT_CLASSES = "classes"
"""The input of a program, arange(N), which ONNX computes from the labels."""


def require(*packages: str) -> None:
    """MissingExtra for what is not installed."""
    for package in packages:
        try:
            __import__(package)
        except ImportError as error:
            raise MissingExtra(package, "export", "Exporting to ONNX") from error


def write_onnx(program: Program, path: Path, what: str) -> int:
    """Write the file, with its weights inside, and give its opset. ConfigError where an operation has no ONNX form."""
    require("onnx", "onnxscript", "onnxruntime")
    import onnx

    from quickstudy.deploy.export.onnx_operations import translations

    with _quiet():
        try:
            made: Any = torch.onnx.export(
                program.program,
                dynamo=True,
                opset_version=_OPSET,
                verbose=False,
                optimize=False,
                input_names=list(program.graph.inputs),
                output_names=list(program.outputs),
                custom_translation_table=translations(),
            )
            _simplify(made.model)
        except Exception as error:  # whatever the exporter raises
            lines = [line for line in str(error).splitlines() if "Error" in line or "No " in line] or [str(error)[:300]]
            raise ConfigError(f"{what} cannot be written as ONNX: {lines[-1].strip()[:300]}") from error
    model = made.model_proto
    if LEARNT_CLASSES in program.graph.inputs:
        _count_classes(model)
    _forget(model)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return max(int(one.version) for one in model.opset_import if one.domain == "")


def _simplify(model: Any) -> None:
    """Compute what is constant and drop what is not used, as the exporter does by itself; without its rules of
    rewriting, which take a number as small as 1e-8 for 0, and so leave out what keeps divisors from being 0."""
    import onnx_ir.passes.common
    from onnxscript import optimizer

    passes: Any = onnx_ir.passes.common

    passes.InlinePass()(model)
    for _ in range(2):
        optimizer.fold_constants(model)
        passes.RemoveUnusedNodesPass()(model)
    for one in (
        passes.RemoveUnusedFunctionsPass(),
        passes.RemoveUnusedOpsetsPass(),
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.LiftSubgraphInitializersToMainGraphPass(),
        passes.DeduplicateInitializersPass(),
        passes.CommonSubexpressionEliminationPass(),
        passes.OutputFixPass(),
        passes.NameFixPass(),
    ):
        one(model)


def _forget(model: Any) -> None:
    """Without what the exporter notes of where in the code each node is from."""
    for graph in (model.graph, *model.functions):
        for node in graph.node:
            del node.metadata_props[:]
            node.doc_string = ""
    del model.graph.value_info[:], model.graph.metadata_props[:], model.metadata_props[:]


def _count_classes(model: Any) -> None:
    """The input `classes` is computed: 0 … max(labels)."""
    from onnx import TensorProto, helper

    graph = model.graph
    (given,) = [one for one in graph.input if one.name == LEARNT_CLASSES]
    graph.input.remove(given)
    constants = [
        helper.make_node("Constant", [], [f"{LEARNT_CLASSES}.{name}"], value=value)
        for name, n in (("zero", 0), ("one", 1))
        for value in (helper.make_tensor(name, TensorProto.INT64, [], [n]),)
    ]  # fmt: skip
    nodes = [
        *constants,
        helper.make_node("ReduceMax", ["labels"], [f"{LEARNT_CLASSES}.last"], keepdims=0),
        helper.make_node("Add", [f"{LEARNT_CLASSES}.last", f"{LEARNT_CLASSES}.one"], [f"{LEARNT_CLASSES}.count"]),
        helper.make_node(
            "Range", [f"{LEARNT_CLASSES}.zero", f"{LEARNT_CLASSES}.count", f"{LEARNT_CLASSES}.one"], [LEARNT_CLASSES]
        ),
    ]
    for node in reversed(nodes):
        graph.node.insert(0, node)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Within it, the exporter does not tell how it gets on."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [one.level for one in loggers]
    try:
        for one in loggers:
            one.setLevel(logging.CRITICAL)
        with quiet(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
