"""The graph that learns, as ONNX, of its two parts: what embeds, once for examples and queries, and the head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write_joined(embed: Path, head: Path, inputs: Sequence[str], path: Path) -> None:
    """inputs: of `embed`; in the whole there is each once more, of support examples."""
    import onnx
    from onnx import compose, helper

    first: Any = compose.add_prefix(onnx.load(str(embed)), "embed.")
    last: Any = onnx.load(str(head))  # as it is: names in its loops would not follow
    given = {one.name.removeprefix("embed."): one.type for one in first.graph.input}
    labels = next(one for one in last.graph.input if one.name == "labels")
    nodes = [helper.make_node("Concat", [f"support_{name}", name], [f"embed.{name}"], axis=0) for name in inputs]
    nodes += list(first.graph.node)
    ends = {"zero": [0], "one": [1], "most": [2**62]}
    nodes += [
        helper.make_node(
            "Constant", [], [f"split.{name}"], value=helper.make_tensor(name, onnx.TensorProto.INT64, [1], value)
        )
        for name, value in ends.items()
    ]
    nodes += [
        helper.make_node("Shape", ["labels"], ["split.shape"]),
        helper.make_node("Slice", ["split.shape", "split.zero", "split.one"], ["split.m"]),
        helper.make_node("Slice", ["embed.embedding", "split.zero", "split.m"], ["support_embedding"]),
        helper.make_node("Slice", ["embed.embedding", "split.m", "split.most"], ["embedding"]),
        *last.graph.node,
    ]  # fmt: skip

    def entering(name: str, axis: str, like: Any) -> Any:
        made = onnx.ValueInfoProto(name=name, type=like)
        made.type.tensor_type.shape.dim[0].dim_param = axis
        return made

    support = [entering(f"support_{name}", "m", given[name]) for name in inputs]
    queries = [entering(name, "n", given[name]) for name in inputs]
    graph = helper.make_graph(
        nodes, "adapt", [*support, entering("labels", "m", labels.type), *queries], last.graph.output,
        [*first.graph.initializer, *last.graph.initializer],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=last.opset_import, functions=[*first.functions, *last.functions])
    model.ir_version = last.ir_version
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
