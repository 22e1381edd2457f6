"""Modules as programs of torch.export, with axes that are free."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.errors import ConfigError, ModelError, QuickstudyError
from quickstudy.systems import whole_solve

_TYPES = {
    torch.uint8: "uint8", torch.int16: "int16", torch.int32: "int32", torch.int64: "int64", torch.bool: "bool",
    torch.float32: "float32", torch.float64: "float64",
}  # fmt: skip
_MOST = 1 << 24  # of a free axis


@dataclass(frozen=True)
class Graph:
    """What is to become a graph. module: tensors, in the order of `inputs`, to outputs by name. inputs: by name, each
    with the name of its first axis, which is free. examples: what it is traced with; no two axes of other names have
    one size. checked: further inputs, on which the graph is held against the module."""

    module: nn.Module
    inputs: Mapping[str, str]
    examples: Sequence[Tensor]
    checked: Sequence[Sequence[Tensor]] = ()


@dataclass(frozen=True)
class Program:
    """What a graph was traced to, and the shapes and types of what goes in and comes out, for the manifest."""

    graph: Graph
    program: torch.export.ExportedProgram
    outputs: tuple[str, ...]
    described: dict[str, Any]


def traced(graph: Graph, what: str) -> Program:
    """The graph as a program. what: it is, for the ConfigError where it cannot be traced, which says why."""
    names = set(graph.inputs.values())
    free = {name: torch.export.Dim(name, min=2 if name == "N" else 1, max=_MOST) for name in names}
    shapes = tuple({0: free[axis]} for axis in graph.inputs.values())
    sizes = {tensor.shape[0]: axis for tensor, axis in zip(graph.examples, graph.inputs.values(), strict=True)}
    with torch.no_grad(), quiet():
        said = graph.module(*graph.examples)  # first, so that nothing that is kept for later calls is made in a trace
        try:
            program = torch.export.export(graph.module, tuple(graph.examples), dynamic_shapes=(shapes,), strict=False)
        except QuickstudyError:
            raise
        except Exception as error:  # whatever PyTorch raises, or a network of the user's
            raise ConfigError(f"{what} cannot be traced by torch.export: {_first(error)}") from error
    _drop_assertions(program)

    def described(name: str, tensor: Tensor) -> dict[str, Any]:
        if tensor.dtype not in _TYPES:
            raise ModelError(f"{what} has tensors of {tensor.dtype}, which are not exported. Use float32.")
        shape = [sizes.get(size, size) if i == 0 else size for i, size in enumerate(tensor.shape)]
        if name in ("logits", "probabilities") and "N" in names:
            shape[1] = "N"
        return {"name": name, "dtype": _TYPES[tensor.dtype], "shape": shape}

    facts = {
        "inputs": [described(*one) for one in zip(graph.inputs, graph.examples, strict=True)],
        "outputs": [described(*one) for one in said.items()],
    }
    return Program(graph, program, tuple(said), facts)


@contextmanager
def quiet() -> Iterator[None]:
    """Within it, PyTorch does not warn of what it does to itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def write_program(program: Program, path: Path) -> None:
    """Write the file, of operations of PyTorch alone."""
    with quiet():
        plain = program.program.run_decompositions({whole_solve._opoverload: torch.linalg.solve})
        torch.export.save(plain, str(path))


def _drop_assertions(program: torch.export.ExportedProgram) -> None:
    """Without the assertions that conversions leave, of which PyTorch cannot repeat those under `vmap`."""
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            program.graph.erase_node(node)
    program.graph_module.recompile()


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"
