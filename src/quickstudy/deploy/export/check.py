"""What was written is run, and held against what it was written from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.deploy.export.answering import answered
from quickstudy.deploy.export.program import Graph
from quickstudy.errors import ConfigError

MARGIN = 1e-4
"""By which the likeliest class must be likelier than the next, for it to be the same wherever the graph runs."""
_NOWHERE = -5e8  # below it a logit is that of a class without support
_CLOSE = 1e-3  # of the largest number of an output

Run = Callable[[Sequence[Tensor]], Mapping[str, Tensor]]


def of_onnx(path: Path, graph: Graph) -> Run:
    """What onnxruntime says by a file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    wanted = {one.name for one in session.get_inputs()}

    def run(given: Sequence[Tensor]) -> Mapping[str, Tensor]:
        arrays = {n: t.numpy() for n, t in zip(graph.inputs, given, strict=True) if n in wanted}
        return dict(zip(names, map(torch.as_tensor, session.run(None, arrays)), strict=True))

    return run


def of_torch(path: Path, graph: Graph) -> Run:
    """What a program says that was read from a file."""
    module = torch.export.load(str(path)).module()
    return lambda given: answered(module, *given)


def check(run: Run, graph: Graph, what: str) -> None:
    """ConfigError, with how far, where what was written says something else than the module."""
    for given in (graph.examples, *graph.checked):
        expected = answered(graph.module, *given)
        try:
            said = run(given)
        except Exception as error:  # whatever the runtime raises
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ConfigError(
                f"{what} was written, but does not run on {len(given[-1])} inputs: {lines[0]:.300}"
            ) from error
        if wrong := differing(said, expected):
            raise ConfigError(
                f"{what} was not exported: on {len(given[-1])} trial inputs the graph says something else than the "
                f"model ({wrong}). Please report this with the versions of torch and onnxruntime."
            )


def differing(said: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """What differs by more than rounding, in words; '' if nothing does."""
    for name, truth in expected.items():
        if name not in said or said[name].shape != truth.shape:
            found = tuple(said[name].shape) if name in said else "nothing"
            return f"{name} has the shape {found} for {tuple(truth.shape)}"
        there = truth.double() > _NOWHERE
        away = torch.where(there, (said[name].double() - truth.double()).abs(), 0.0)
        largest = torch.where(there, truth.double().abs(), 0.0).amax() if truth.numel() else truth.new_zeros(())
        worst = float(away.amax()) if away.numel() else 0.0
        if not worst <= _CLOSE * max(float(largest), 1e-6):
            return f"{name} by {worst:.2g}, of numbers up to {float(largest):.2g}"
    if "probabilities" in expected and (other := others(said, expected)):
        return f"{len(other)} answers are others"
    return ""


def others(said: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[Any]:
    """Where the likeliest class is another one, though it is likelier than the next by more than `MARGIN`."""
    p = expected["probabilities"]
    top = p.topk(2, dim=1).values
    sure = top[:, 0] - top[:, 1] > MARGIN
    found: list[Any] = ((said["probabilities"].argmax(1) != p.argmax(1)) & sure).nonzero().tolist()
    return found
