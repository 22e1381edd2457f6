"""Which tests need node, or onnxruntime-web, and what runs modules of the page."""

from __future__ import annotations

import pytest

from studies.in_node import LIB, NODE, node, wasm

__all__ = ["LIB", "NODE", "needs_node", "needs_wasm", "node", "wasm"]

needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")
needs_wasm = pytest.mark.skipif(wasm() is None, reason="onnxruntime-web is not installed")
