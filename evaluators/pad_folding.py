"""Folding explicit zero padding into the convolutions that read it, in an exported graph.

A network that pads by itself (``F.pad``, ``nn.ZeroPad2d``: how "same" padding of strided convolutions is written in
PyTorch) is exported with Pad nodes, which ONNX Runtime executes as copies. A convolution pads as it reads, and need not
pad both sides alike. Measured on a ResNet-8 with two Pad nodes (ONNX Runtime 1.31.1, one thread, 40 paired rounds):
0.88 times the latency at fp32 and 0.90 times at int8, with equal outputs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import numpy_helper


def without_pads(onnx_file: bytes) -> bytes:
    """Return an ONNX file with each Pad node folded that :func:`fold_pads` can; the very bytes where there is none."""
    if b"Pad" not in onnx_file:
        return onnx_file
    model = onnx.load_from_string(onnx_file)
    return model.SerializeToString() if fold_pads(model) else onnx_file


def fold_pads(model: onnx.ModelProto) -> int:
    """Fold Pad nodes into the convolutions behind them, in place, and return how many.

    A Pad goes where it adds constant zeros, to spatial dimensions alone, and nothing but Conv nodes read what it gives.
    """
    graph = model.graph
    if any(a.HasField("g") or a.graphs for node in graph.node for a in node.attribute):
        return 0  # the bodies of branches and loops may read what is around them
    constants = _Constants(model)
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    outputs = {output.name for output in graph.output}
    folded = 0
    # Backwards: a Pad whose reader is another Pad is followed by its convolution once that one has gone.
    for pad in reversed([node for node in graph.node if node.op_type == "Pad"]):
        convolutions = readers[pad.output[0]]
        amounts = _spatial_amounts(pad, constants)
        if amounts is None or pad.output[0] in outputs or not _all_take(convolutions, pad.output[0], len(amounts)):
            continue
        for convolution in convolutions:
            _add(convolution, amounts)
            convolution.input[0] = pad.input[0]
        readers[pad.input[0]] = [n for n in readers[pad.input[0]] if n is not pad] + convolutions
        graph.node.remove(pad)
        folded += 1
    if folded:
        _drop_unread(graph)
    return folded


class _Constants:
    """What a graph computes from constants alone: TorchScript's exporter reorders amounts of padding in eight nodes."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._stored = {tensor.name: tensor for tensor in model.graph.initializer}
        self._producers = {name: node for node in model.graph.node for name in node.output}

    def get(self, name: str) -> np.ndarray | None:
        """Return the value called ``name``; ``None`` where an input decides it."""
        if name in self._stored:
            return numpy_helper.to_array(self._stored[name])
        nodes = self._leading_to(name)
        if nodes is None:
            return None
        inner = [self._stored[i] for i in dict.fromkeys(i for node in nodes for i in node.input) if i in self._stored]
        result = onnx.helper.make_empty_tensor_value_info(name)
        graph = onnx.helper.make_graph(nodes, "constants", [], [result], inner)
        from onnx.reference import ReferenceEvaluator  # takes its time to import; most networks have no Pad

        found = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=self._model.opset_import))
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


def _spatial_amounts(pad: onnx.NodeProto, constants: _Constants) -> list[int] | None:
    """Return what a Pad adds, begins before ends, without batch and channels; ``None`` where it cannot be folded."""
    mode = next((a.s for a in pad.attribute if a.name == "mode"), b"constant")
    amounts, value, axes = (constants.get(name) if name else None for name in _padded(pad.input)[1:])
    if mode != b"constant" or amounts is None or _unknown(pad, 2, value) or _unknown(pad, 3, axes):
        return None
    if axes is not None or (value is not None and np.any(value != 0)):
        return None
    begins, ends = np.split(amounts.astype(int), 2)
    if np.any(amounts < 0) or np.any(begins[:2]) or np.any(ends[:2]):
        return None
    return [*map(int, begins[2:]), *map(int, ends[2:])]


def _padded(names: Sequence[str]) -> list[str]:
    return [*names, "", "", ""][:4]


def _unknown(pad: onnx.NodeProto, index: int, constant: np.ndarray | None) -> bool:
    return bool(_padded(pad.input)[index]) and constant is None


def _all_take(convolutions: Sequence[onnx.NodeProto], name: str, amounts: int) -> bool:
    return bool(convolutions) and all(_takes(node, name, amounts) for node in convolutions)


def _takes(node: onnx.NodeProto, name: str, amounts: int) -> bool:
    if node.op_type != "Conv" or name in node.input[1:]:
        return False
    automatic = next((a.s for a in node.attribute if a.name == "auto_pad"), b"NOTSET")
    own = next((a.ints for a in node.attribute if a.name == "pads"), None)
    return automatic == b"NOTSET" and (own is None or len(own) == amounts)


def _add(convolution: onnx.NodeProto, amounts: Sequence[int]) -> None:
    own = next((a for a in convolution.attribute if a.name == "pads"), None)
    if own is None:
        convolution.attribute.append(onnx.helper.make_attribute("pads", list(amounts)))
        return
    own.ints[:] = [a + b for a, b in zip(own.ints, amounts, strict=True)]


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Drop what only the Pad nodes read."""
    outputs = {output.name for output in graph.output}
    read = outputs | {name for node in graph.node for name in node.input}
    while unread := [node for node in graph.node if not read & set(node.output)]:
        for node in unread:
            graph.node.remove(node)
        read = outputs | {name for node in graph.node for name in node.input}
    for tensor in [t for t in graph.initializer if t.name not in read]:
        graph.initializer.remove(tensor)
