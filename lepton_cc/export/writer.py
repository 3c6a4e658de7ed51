"""What rules write ONNX nodes with: names, initializers, and tensors as views of values.

The graph has channels last, ONNX has them second. No transpose is written for that: a value is an
ONNX tensor and the order of its axes, which pointwise ops keep and which only ops that need another
one change. Constants are written in the order that their reader wants.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from lepton_cc.frontend.tensors import DTYPES
from lepton_cc.ir.diagnostics import Code, Refused, refuse
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.movement import Reshape
from lepton_cc.ir.ops.quantization import Dequantize
from lepton_cc.ir.tensor import Array

ELEMENT_TYPES: Mapping[DType, int] = {dtype: number for number, dtype in DTYPES.items()}

Order = tuple[int, ...]
Attribute = int | float | str | Sequence[int] | Sequence[float] | Sequence[str]


@dataclass(frozen=True, slots=True)
class View:
    """A value as an ONNX tensor: axis i of the tensor is axis `order[i]` of the value."""

    name: str
    order: Order


def identity(rank: int) -> Order:
    """The order in which a value has its axes itself."""
    return tuple(range(rank))


def channels_first(rank: int) -> Order:
    """[N, *S, C] as [N, C, *S]."""
    return (0, rank - 1, *range(1, rank - 1))


class Writer:
    """Nodes and initializers of one model in the making."""

    def __init__(self, graph: Graph) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._names = {*(value.name for value in graph.inputs), *graph.output_names}
        self._node_names: set[str] = set()
        self._views: dict[Value, View] = {
            value: View(value.name, identity(value.type.rank)) for value in graph.inputs
        }
        self._ordered: dict[tuple[Value, Order, int], str] = {}
        self._constants: dict[Value, Op] = {}
        self._dequantized_by: dict[Value, Op] = {}
        self._origin = ""

    def begin(self, op: Op) -> None:
        """Names the nodes that follow after the ONNX nodes that the op came from."""
        self._origin = op.location.nodes[0] if op.location.nodes else op.kind.mnemonic

    def refuse(self, op: Op, reason: str) -> Refused:
        """The refusal of an op that ONNX has no form for."""
        return refuse(
            Code.UNSUPPORTED_FORM,
            f"{op.kind.mnemonic} cannot be written as ONNX: {reason}",
            node=str(op.location),
        )

    def fresh(self, stem: str) -> str:
        """A tensor name that nothing has."""
        return _fresh(stem, self._names)

    def node(
        self,
        op_type: str,
        inputs: Sequence[str],
        stem: str,
        attributes: Mapping[str, Attribute] | None = None,
    ) -> str:
        """Adds a node with one output and gives that output's name."""
        return self.node_with_outputs(op_type, inputs, (stem,), attributes)[0]

    def node_with_outputs(
        self,
        op_type: str,
        inputs: Sequence[str],
        stems: Sequence[str],
        attributes: Mapping[str, Attribute] | None = None,
    ) -> tuple[str, ...]:
        """Adds a node with an output for each stem, and gives their names.

        An input "" is one that is left out.
        """
        outputs = tuple(self.fresh(stem) for stem in stems)
        name = _fresh(f"{self._origin}/{op_type}", self._node_names)
        node = onnx.helper.make_node(op_type, list(inputs), list(outputs), name)
        node.attribute.extend(
            onnx.helper.make_attribute(key, value)
            for key, value in sorted((attributes or {}).items())
        )
        self.nodes.append(node)
        return outputs

    def initializer(self, array: Array, stem: str) -> str:
        """Adds a constant tensor and gives its name."""
        name = self.fresh(stem)
        self.initializers.append(onnx.numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def integers(self, numbers: Sequence[int], stem: str) -> str:
        """Adds an i64 vector."""
        return self.initializer(np.asarray(numbers, np.int64), stem)

    def bind(self, value: Value, name: str, order: Order) -> None:
        """Says which tensor a value is."""
        self._views[value] = View(name, order)

    def keep_constant(self, op: Op) -> bool:
        """Leaves a constant, or one dequantized, to its readers; False if the op is neither."""
        known = isinstance(op.kind, Constant) or (
            isinstance(op.kind, Dequantize) and all(v in self._constants for v in op.inputs)
        )
        known = known or self._blocks(op) is not None
        if known:
            self._constants[op.results[0]] = op
        return known

    def _blocks(self, op: Op) -> Op | None:
        """The op that dequantizes [N, B, C] by [N, 1, C], if `op` makes it [N * B, C] again."""
        behind = self._constants.get(op.inputs[0]) if isinstance(op.kind, Reshape) else None
        if behind is None or not isinstance(behind.kind, Dequantize):
            return None
        dims = behind.result.type.dims
        is_blocked = len(dims) == 3 and behind.inputs[1].type.dims == (dims[0], 1, dims[2])
        return (
            behind if is_blocked and op.result.type.dims == (dims[0] * dims[1], dims[2]) else None
        )

    def is_constant(self, value: Value) -> bool:
        """True for constants, dequantized ones included."""
        return value in self._constants

    def array(self, value: Value) -> Array | None:
        """The content of a constant."""
        op = self._constants.get(value)
        return op.kind.value.array if op is not None and isinstance(op.kind, Constant) else None

    def order_of(self, value: Value) -> Order:
        """The order that a value has; that of a constant is its own."""
        view = self._views.get(value)
        return identity(value.type.rank) if view is None else view.order

    def view(self, value: Value) -> View:
        """A value as it is; constants in their own order."""
        return View(self.tensor(value, self.order_of(value)), self.order_of(value))

    def tensor(self, value: Value, order: Order | None = None) -> str:
        """The tensor of a value in an order (its own if none is given).

        A constant of lower rank than the order is given leading axes of size 1.
        """
        order = identity(value.type.rank) if order is None else order
        view = self._views.get(value)
        if view is not None and view.order == order:
            return view.name
        key = (value, order, len(order))
        if key not in self._ordered:
            self._ordered[key] = self._written(value, order)
        return self._ordered[key]

    def _written(self, value: Value, order: Order) -> str:
        if value in self._constants:
            return self._written_constant(value, order)
        view = self._views[value]
        permutation = [view.order.index(axis) for axis in order]
        name = self.node("Transpose", [view.name], value.name, {"perm": permutation})
        behind = self._dequantized_by.get(value)
        return name if behind is None else self._pair(name, value.name, behind)

    def dequantized_by(self, value: Value) -> Op | None:
        """The op with one scale that a value, or what it was moved from, was dequantized by."""
        return self._dequantized_by.get(value)

    def note_dequantized(self, value: Value, dequantize: Op) -> None:
        """Says by which op, with one constant scale, a value was dequantized."""
        self._dequantized_by[value] = dequantize

    def repeat_pair(self, value: Value, dequantize: Op) -> None:
        """Puts QuantizeLinear and DequantizeLinear, of one scale, behind a value."""
        view = self.view(value)
        self.bind(value, self._pair(view.name, value.name, dequantize), view.order)
        self.note_dequantized(value, dequantize)

    def _pair(self, x: str, stem: str, dequantize: Op) -> str:
        parameters = []
        for parameter in dequantize.inputs[1:]:
            array = self.array(parameter)
            assert array is not None
            parameters.append(self.initializer(array.reshape(()), parameter.name))
        attributes: dict[str, Attribute] = {}
        if len(parameters) == 1:
            attributes["output_dtype"] = ELEMENT_TYPES[dequantize.inputs[0].type.dtype]
        integers = self.node("QuantizeLinear", [x, *parameters], f"{stem}.quantized", attributes)
        return self.node("DequantizeLinear", [integers, *parameters], f"{stem}.dequantized")

    def _written_constant(self, value: Value, order: Order) -> str:
        array = self.array(value)
        if array is not None:
            return self.initializer(_ordered(array, order), value.name)
        op = self._constants[value]
        blocks = self._blocks(op)
        if blocks is not None:
            return self._written_blocks(value, order, blocks)
        x, scales = op.inputs[0], self.array(op.inputs[1])
        assert scales is not None
        wide = scales.reshape((1,) * (value.type.rank - scales.ndim) + scales.shape)
        varying = [axis for axis, size in enumerate(wide.shape) if size > 1]
        shifted = len(order) - value.type.rank
        if len(varying) > 1:
            raise self.refuse(op, "its scales vary along several axes")
        attributes = {"axis": order.index(varying[0] + shifted)} if varying else {}
        names = [self.tensor(x, order)]
        for parameter in op.inputs[1:]:
            content = self.array(parameter)
            assert content is not None
            flat = content.reshape(-1) if varying else content.reshape(())
            names.append(self.initializer(flat, parameter.name))
        return self.node("DequantizeLinear", names, value.name, attributes)

    def _written_blocks(self, value: Value, order: Order, blocks: Op) -> str:
        """DequantizeLinear with a block size along the axis of the rows; ONNX's opset 21."""
        names = []
        for part in blocks.inputs:
            array = self.array(part)
            assert array is not None
            flat = array.reshape(-1, array.shape[-1])
            names.append(self.initializer(_ordered(flat, order), part.name))
        size = blocks.result.type.dims[1]
        attributes = {"axis": order.index(len(order) - 2), "block_size": size}
        return self.node("DequantizeLinear", names, value.name, attributes)


def _ordered(array: Array, order: Order) -> Array:
    wide = array.reshape((1,) * (len(order) - array.ndim) + array.shape)
    return np.asarray(wide.transpose(order))


def _fresh(stem: str, taken: set[str]) -> str:
    name, number = stem, 0
    while name in taken:
        number += 1
        name = f"{stem}.{number}"
    taken.add(name)
    return name
