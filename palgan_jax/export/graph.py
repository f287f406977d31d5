"""An ONNX graph under construction, written as formulas of its tensors.

Its users take only operators that ONNX Runtime has on CPUs and in browsers (WebGPU), and that TensorRT has: no Resize
with antialias, no SpaceToDepth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 18, 8
"""Of 2022: what reads ONNX today reads these."""
HALF_FROM = 1024
"""Weights of fewer numbers stay float32.

Little is won by them, and the first layers of an encoder are among them, whose rounding all others multiply: in the
bundled model, to 1.4 Lab units instead of 0.02."""

Operand = Union["Tensor", np.ndarray, float]


@dataclass(frozen=True)
class Tensor:
    """A tensor of a graph. Numbers and arrays of float32 or int64 beside it become constants."""

    graph: "Graph"
    name: str

    def __add__(self, other: Operand) -> "Tensor":
        return self.graph.add("Add", self, other)

    def __sub__(self, other: Operand) -> "Tensor":
        return self.graph.add("Sub", self, other)

    def __mul__(self, other: Operand) -> "Tensor":
        return self.graph.add("Mul", self, other)

    def __truediv__(self, other: Operand) -> "Tensor":
        return self.graph.add("Div", self, other)

    def __gt__(self, other: Operand) -> "Tensor":
        return self.graph.add("Greater", self, other)

    def __lt__(self, other: Operand) -> "Tensor":
        return self.graph.add("Less", self, other)

    def __matmul__(self, other: Operand) -> "Tensor":
        return self.graph.add("MatMul", self, other)


class Graph:
    """Nodes, constants, inputs and outputs. `half` stores weights as float16; what is computed stays float32."""

    def __init__(self, half: bool = False) -> None:
        self._half = half
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._names: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def add(self, operator: str, *operands: Operand, **attributes: Any) -> Tensor:
        """Adds a node with one result, and returns that."""
        inputs = [x.name if isinstance(x, Tensor) else self.constant(x).name for x in operands]
        name = f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return Tensor(self, name)

    def constant(self, value: np.ndarray | float) -> Tensor:
        """Returns a constant: integers as int64, all else as float32. Equal ones are one."""
        array = np.asarray(value)
        array = np.ascontiguousarray(array, np.int64 if array.dtype.kind == "i" else np.float32).reshape(array.shape)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._names:
            self._names[key] = self._store(f"constant_{len(self._names)}", array)
        return Tensor(self, self._names[key])

    def weight(self, value: np.ndarray, name: str) -> Tensor:
        """Returns a trained array by the name that Flax has for it; where asked, it is stored as float16."""
        array = np.ascontiguousarray(value, np.float32)
        largest = np.abs(array).max(initial=0.0)
        if not self._half or array.size < HALF_FROM or largest > np.finfo(np.float16).max:
            return Tensor(self, self._store(name, array))
        return self.add("Cast", Tensor(self, self._store(name, array.astype(np.float16))), to=TensorProto.FLOAT)

    def _store(self, name: str, array: np.ndarray) -> str:
        self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def concatenate(self, parts: Sequence[Tensor]) -> Tensor:
        """Joins tensors along channels, (B, C, ...)."""
        return parts[0] if len(parts) == 1 else self.add("Concat", *parts, axis=1)

    def input(self, name: str, shape: Sequence[int | str], meaning: str) -> Tensor:
        """Adds an input of float32; sizes that are names are free."""
        info = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape, doc_string=meaning)
        self._inputs.append(info)
        return Tensor(self, name)

    def output(self, tensor: Tensor, name: str, shape: Sequence[int | str], meaning: str) -> None:
        """Makes the result of a node, of float32, an output, by another name."""
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [name if output_name == tensor.name else output_name for output_name in names]
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape, doc_string=meaning))

    def model(self, name: str, version: str, properties: Mapping[str, str]) -> onnx.ModelProto:
        """Returns the finished model; `version` is that of its producer, palgan_jax."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, list(self._constants.values()))
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="palgan_jax",
            producer_version=version,
        )
        helper.set_model_props(model, dict(properties))
        return model
