"""A small export whose graphs are written by hand: drawings, a prototypical network over fixed random features."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE, WIDTH = 28, 16


def weights() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((SIZE * SIZE, WIDTH)).astype(np.float32) / SIZE


def _constant(name: str, value: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(value, name)


def _model(nodes: list[onnx.NodeProto], inputs: list, outputs: list, constants: list) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(made)
    return made


def _embed() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["x"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["number", "white"], ["light"]),
        helper.make_node("Flatten", ["light"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["embedding"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", 1, SIZE, SIZE])
    z = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", WIDTH])
    return _model(nodes, [x], [z], [_constant("white", np.float32(255)), _constant("weights", weights())])


def _head() -> onnx.ModelProto:
    """Minus the squared distances to the mean of each class; known: whether the nearest one is nearer than 1."""
    nodes = [
        helper.make_node("ReduceMax", ["labels", "first"], ["last"], keepdims=0),
        helper.make_node("Add", ["last", "one"], ["ways"]),
        helper.make_node("Unsqueeze", ["ways", "first"], ["depth"]),
        helper.make_node("OneHot", ["labels", "depth", "off_on"], ["member"], axis=1),
        helper.make_node("ReduceSum", ["member", "first"], ["count"], keepdims=1),
        helper.make_node("Div", ["member", "count"], ["share"]),
        helper.make_node("Transpose", ["share"], ["shares"], perm=[1, 0]),
        helper.make_node("MatMul", ["shares", "support_embedding"], ["means"]),
        helper.make_node("Unsqueeze", ["embedding", "second"], ["asked"]),
        helper.make_node("Sub", ["asked", "means"], ["away"]),
        helper.make_node("Mul", ["away", "away"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "third"], ["distance"], keepdims=0),
        helper.make_node("Neg", ["distance"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceMax", ["logits", "second"], ["nearest"], keepdims=0),
        helper.make_node("Exp", ["nearest"], ["known"]),
        helper.make_node("Identity", ["least"], ["known_least"]),
    ]
    inputs = [
        helper.make_tensor_value_info("support_embedding", TensorProto.FLOAT, ["m", WIDTH]),
        helper.make_tensor_value_info("labels", TensorProto.INT64, ["m"]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", WIDTH]),
    ]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", "N"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", "N"]),
        helper.make_tensor_value_info("known", TensorProto.FLOAT, ["n"]),
        helper.make_tensor_value_info("known_least", TensorProto.FLOAT, [1]),
    ]
    constants = [
        _constant("first", np.array([0])), _constant("second", np.array([1])), _constant("third", np.array([2])),
        _constant("one", np.array(1)), _constant("off_on", np.array([0, 1], np.float32)),
        _constant("least", np.array([0.5], np.float32)),
    ]  # fmt: skip
    return _model(nodes, inputs, outputs, constants)


def write(folder: Path) -> dict:
    """The graphs and the manifest, as an export with its learner leaves them; the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    graphs = {}
    for name, made in (("embed", _embed()), ("head", _head())):
        onnx.save(made, folder / f"{name}.onnx")
        graphs[name] = {
            "file": f"{name}.onnx",
            "inputs": [
                {"name": one.name, "dtype": helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type).name,
                 "shape": [d.dim_param or d.dim_value for d in one.type.tensor_type.shape.dim]}
                for one in made.graph.input
            ],
        }  # fmt: skip
    manifest = {
        "version": 1, "made": "2026-01-01T00:00:00+00:00", "name": "small", "says": "classes", "names": [], "units": "",
        "graphs": graphs, "trust": {"rates": [0.05], "level": 0.9}, "why_no_trust": "It is small.",
        "reading": {
            "kind": "image", "size": SIZE, "channels": 1, "invert": True, "background": "white",
            "ink": {"fine": 4, "faint": 24, "share": 0.3, "slack": 2, "margin": 0.12},
        },
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(manifest))
    return manifest


def embedded(x: np.ndarray) -> np.ndarray:
    """Of stored drawings (n, 1, 28, 28)."""
    return (x.reshape(len(x), -1).astype(np.float32) / np.float32(255)) @ weights()


def answered(support: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, N), and how likely each is known (n,), of stored drawings."""
    known, z = embedded(support), embedded(asked)
    means = np.stack([known[labels == c].mean(0) for c in range(labels.max() + 1)])
    logits = -((z[:, None] - means) ** 2).sum(2)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True), np.exp(logits.max(1))
