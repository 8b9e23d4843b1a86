"""Reading and trimming an exported graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from graphlib import TopologicalSorter

import numpy as np
import onnx
from onnx import numpy_helper


def has_bodies(graph: onnx.GraphProto) -> bool:
    """Return whether nodes hold graphs of their own: bodies of branches and loops may read what is around them."""
    return any(a.HasField("g") or a.graphs for node in graph.node for a in node.attribute)


def readers_of(graph: onnx.GraphProto) -> defaultdict[str, list[onnx.NodeProto]]:
    """Return the nodes that read each value, by its name."""
    readers: defaultdict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    return readers


class Constants:
    """What a graph computes from constants alone: TorchScript's exporter reorders amounts of padding in eight nodes."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._stored = {tensor.name: tensor for tensor in model.graph.initializer}
        self._producers = {name: node for node in model.graph.node for name in node.output}

    def get(self, name: str) -> np.ndarray | None:
        """Return the value called ``name``; ``None`` where an input decides it, or it cannot be computed here."""
        if name in self._stored:
            return numpy_helper.to_array(self._stored[name])
        nodes = self._leading_to(name)
        if nodes is None:
            return None
        inner = [self._stored[i] for i in dict.fromkeys(i for node in nodes for i in node.input) if i in self._stored]
        result = onnx.helper.make_empty_tensor_value_info(name)
        graph = onnx.helper.make_graph(nodes, "constants", [], [result], inner)
        from onnx.reference import ReferenceEvaluator  # takes its time to import; most networks have no Pad

        try:
            found = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=self._model.opset_import))
        except RuntimeError:  # of one of these operators it knows other versions only
            return None
        # A list here; its declared type is a list or a dict.
        return np.asarray(found.run(None, {})[0])  # pyright: ignore[reportArgumentType]

    def _leading_to(self, name: str) -> list[onnx.NodeProto] | None:
        """Return the nodes that compute ``name``, in order; ``None`` where an input of the network leads there too."""
        wanted, found = [name], set()
        while wanted:
            current = wanted.pop()
            if not current or current in self._stored or current in found:
                continue
            if current not in self._producers:
                return None
            found.add(current)
            wanted += self._producers[current].input
        return [node for node in self._model.graph.node if found & set(node.output)]


def drop_unread(graph: onnx.GraphProto) -> None:
    """Drop nodes and weights, in place, that lead to no output."""
    outputs = {output.name for output in graph.output}
    read = outputs | {name for node in graph.node for name in node.input}
    while unread := [node for node in graph.node if not read & set(node.output)]:
        for node in unread:
            graph.node.remove(node)
        read = outputs | {name for node in graph.node for name in node.input}
    for tensor in [t for t in graph.initializer if t.name not in read]:
        graph.initializer.remove(tensor)


def rename(model: onnx.ModelProto, inputs: Mapping[str, str], outputs: Sequence[str]) -> None:
    """Give a graph's inputs (old name to new) and outputs new names, in place; other values of such a name make room.

    What a wrapper around the network (:class:`~espalier.evaluators.onnx.named_tensors.FlatNetwork`) added to the names
    goes.
    """
    graph = model.graph
    wanted = dict(inputs)
    # A network may return one of its inputs, or one tensor twice: each output is then a value of its own.
    for value, name in zip(graph.output, outputs, strict=True):
        if value.name in wanted:
            graph.node.append(onnx.helper.make_node("Identity", [value.name], [f"{name}//copy"]))
            value.name = f"{name}//copy"
        wanted[value.name] = name
    taken = set(wanted.values())

    def new(name: str) -> str:
        bare = _unwrapped(name)
        return wanted.get(name) or (f"{bare}_" if bare in taken else bare)

    _rename_all(graph, new)
    for node in graph.node:
        node.name = _unwrapped(node.name)


def _unwrapped(name: str) -> str:
    return name.removeprefix("network.") if not name.startswith("/network/") else name.removeprefix("/network")


def _rename_all(graph: onnx.GraphProto, new: Callable[[str], str]) -> None:
    for node in graph.node:
        node.input[:] = [new(name) if name else "" for name in node.input]
        node.output[:] = [new(name) if name else "" for name in node.output]
        for attribute in node.attribute:
            for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _rename_all(body, new)
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = new(value.name)


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Put each node behind those that it reads from, in place; graphs whose nodes hold bodies stay as they are."""
    if has_bodies(graph):
        return
    producers = {name: i for i, node in enumerate(graph.node) for name in node.output}
    wanted = [{producers[name] for name in node.input if name in producers} for node in graph.node]
    if any(max(before, default=-1) > i for i, before in enumerate(wanted)):
        order = TopologicalSorter(dict(enumerate(wanted))).static_order()
        nodes = [graph.node[i] for i in order]
        kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(kept)
