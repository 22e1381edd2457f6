"""Graphs as machine code, by PyTorch's compiler as it is, with a few of its own settings."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from typing import Any

import torch


def machine_code(graph: torch.fx.GraphModule, leaves: list[Any]) -> Callable[..., Any]:
    """A function of `leaves` as fast as the compiler can make it. It raises whatever the compiler, or C++'s, raises.

    It holds for one set of shapes, so nothing needs to be guarded at each call. TORCHDYNAMO_DISABLE=1 leaves out the
    compiler, here as elsewhere in PyTorch.
    """
    if os.environ.get("TORCHDYNAMO_DISABLE") == "1":
        return graph
    from torch import _inductor  # two seconds

    for node in graph.graph.nodes:
        if node.op == "placeholder":
            node.meta.pop("val", None)  # or it is taken for a graph of torch.export, whose inputs are stand-ins
    with warnings.catch_warnings(), _Quiet():
        warnings.simplefilter("ignore")
        compiled: Callable[..., Any] = _inductor.compile(graph, leaves, options=_options(leaves))
    return compiled


def _options(leaves: list[Any]) -> dict[str, Any]:
    """What the compiler is told besides its defaults."""
    common = {"size_asserts": False}  # the shapes are looked at before
    if any(leaf.device.type != "cpu" for leaf in leaves):
        return common
    from torch._inductor import config

    return common | {
        # Grouped convolutions with their channels last make every sum over a channel jump through memory.
        "layout_optimization": False,
        # All C++ in one file: a file for each kernel, which is the default, spends most of its time on headers. To
        # precompile those costs about what it saves in one file, and 150 MB of disk.
        "cpp_wrapper": True,
        "cpp_cache_precompile_headers": False,
        "cpp.dynamic_threads": True,  # as many as are allowed when it runs
        # Whether the C++ compiler knows this processor's instructions is seen when it compiles; trying costs 9 s.
        "cpp.vec_isa_ok": config.cpp.vec_isa_ok is not False,
    }


class _Quiet:
    """Keeps the compiler's log lines, which are about its own choices, out of a user's terminal."""

    def __enter__(self) -> None:
        self._loggers = [logging.getLogger(name) for name in ("torch._dynamo", "torch._inductor")]
        self._levels = [logger.level for logger in self._loggers]
        for logger in self._loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        for logger, level in zip(self._loggers, self._levels, strict=True):
            logger.setLevel(level)
