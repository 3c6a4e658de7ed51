"""What an operator importer sees of one ONNX node: operands, attributes, and ways to emit ops."""

import builtins
import math
from collections.abc import Sequence
from typing import NoReturn, Protocol

import numpy as np
import onnx

from lepton_cc.frontend.attributes import Attributes
from lepton_cc.frontend.limits import MAX_PARAMETERS, MAX_RANK, MAX_TABLE_ELEMENTS
from lepton_cc.frontend.refusal import NodeRefusal
from lepton_cc.frontend.scope import Operand, Scope, TensorSequence
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.elementwise import Binary, Cast, Select, Unary
from lepton_cc.ir.ops.movement import Broadcast, Reshape, Transpose
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.tensor import Array

_MALFORMED = Code.MODEL_MALFORMED


class Session(Protocol):
    """What a node needs of the import that it is part of."""

    def add(self, kind: OpKind, operands: Sequence[Value | None], origin: str) -> tuple[Value, ...]:
        """Appends an op that came from the node named `origin`."""

    def constant(self, array: Array, origin: str) -> Value:
        """Adds a constant."""

    def content(self, value: Value) -> Array | None:
        """The compile-time content of a value, None if it hangs on a graph input."""

    def is_dequantized(self, value: Value) -> bool:
        """True if a Dequantize is among the ops that a value is computed by."""

    def inputs_behind(self, value: Value) -> tuple[str, ...]:
        """Names of the graph inputs that a value is computed from."""

    def inline(
        self, graph: onnx.GraphProto, inputs: Sequence[Value | None], view: "NodeView"
    ) -> tuple[Value, ...]:
        """Imports a subgraph of `view`'s node in place; names of the outer scopes are seen."""


class NodeView:
    """One ONNX node during its import; `opset` is the model's version of the node's domain."""

    def __init__(
        self,
        proto: onnx.NodeProto,
        operands: Sequence[Operand],
        attributes: Attributes,
        *,
        opset: builtins.int,
        origin: str,
        label: str,
        session: Session,
        scope: Scope,
    ) -> None:
        self.op_type = proto.op_type
        self.domain = proto.domain
        self.opset = opset
        self.origin = origin
        self.label = label
        self.operands = tuple(operands)
        self.attributes = attributes
        self.output_names = tuple(proto.output)
        self.scope = scope
        self._session = session

    # Operands and outputs.

    def operand(self, index: builtins.int) -> Value:
        """The operand at `index`, which must be there."""
        value = self.optional(index)
        if value is None:
            self.refuse(f"input {index} is missing", code=Code.MODEL_MALFORMED)
        return value

    def optional(self, index: builtins.int) -> Value | None:
        """The operand at `index`; None if the node leaves it out."""
        value = self.operands[index] if index < len(self.operands) else None
        if isinstance(value, TensorSequence):
            self.refuse(f"input {index} is a sequence", code=Code.TYPE_MISMATCH)
        return value

    def sequence(self, index: builtins.int) -> tuple[Value, ...]:
        """The elements of the sequence at `index`."""
        value = self.operands[index] if index < len(self.operands) else None
        if not isinstance(value, TensorSequence):
            self.refuse(f"input {index} is no sequence", code=Code.TYPE_MISMATCH)
        return value.elements

    def constant(self, index: builtins.int) -> Array:
        """The content of operand `index`, read-only; refuses the node if a graph input feeds it."""
        array = self.content(self.operand(index))
        if array is None:
            self.refuse_unknown(
                self.operand(index),
                f"input {index} must be known at compile time",
                "make it an initializer, or give the graph inputs that feed it a value",
            )
        return array

    def optional_constant(self, index: builtins.int) -> Array | None:
        """Like `constant`; None if the node leaves the operand out."""
        return None if self.optional(index) is None else self.constant(index)

    def constant_ints(self, index: builtins.int) -> tuple[builtins.int, ...]:
        """The content of an integer operand, flattened."""
        array = self.constant(index)
        if not np.issubdtype(array.dtype, np.integer):
            self.refuse(f"input {index} is {array.dtype}, not an integer", code=Code.TYPE_MISMATCH)
        if array.size > MAX_PARAMETERS:
            self.refuse(f"input {index} has {array.size} elements", code=Code.LIMIT_EXCEEDED)
        return tuple(builtins.int(element) for element in array.reshape(-1))

    def constant_int(self, index: builtins.int) -> builtins.int:
        """The content of an integer operand of one element."""
        elements = self.constant_ints(index)
        if len(elements) != 1:
            self.refuse(f"input {index} has {len(elements)} elements, not one", code=_MALFORMED)
        return elements[0]

    def constant_float(self, index: builtins.int) -> builtins.float:
        """The content of an operand of one element."""
        array = self.constant(index)
        if array.size != 1:
            self.refuse(f"input {index} has {array.size} elements, not one", code=_MALFORMED)
        return builtins.float(array.reshape(()))

    def content(self, value: Value) -> Array | None:
        """The compile-time content of any value; None if it hangs on a graph input."""
        return self._session.content(value)

    @property
    def num_outputs(self) -> builtins.int:
        """How many outputs the node lists, unnamed ones included."""
        return len(self.output_names)

    def output_used(self, index: builtins.int) -> bool:
        """True if the node names output `index`."""
        return index < len(self.output_names) and self.output_names[index] != ""

    # Attributes; each refuses the node if the attribute has another type, or is missing and has
    # no default.

    def has(self, name: str) -> bool:
        """True if the node has the attribute."""
        return name in self.attributes

    def int(self, name: str, default: builtins.int | None = None) -> builtins.int:
        """An integer attribute."""
        return self.attributes.int(name, default)

    def flag(self, name: str, default: bool = False) -> bool:
        """An integer attribute that says yes or no."""
        return bool(self.attributes.int(name, 1 if default else 0))

    def ints(
        self, name: str, default: Sequence[builtins.int] | None = None
    ) -> tuple[builtins.int, ...]:
        """A list of integers."""
        return self.attributes.ints(name, default)

    def float(self, name: str, default: builtins.float | None = None) -> builtins.float:
        """A binary32 attribute."""
        return self.attributes.float(name, default)

    def floats(
        self, name: str, default: Sequence[builtins.float] | None = None
    ) -> tuple[builtins.float, ...]:
        """A list of binary32 numbers."""
        return self.attributes.floats(name, default)

    def string(self, name: str, default: str | None = None) -> str:
        """A string attribute."""
        return self.attributes.string(name, default)

    def strings(self, name: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        """A list of strings."""
        return self.attributes.strings(name, default)

    def tensor(self, name: str, default: Array | None = None) -> Array:
        """A tensor attribute."""
        return self.attributes.tensor(name, default)

    def graph(self, name: str) -> onnx.GraphProto:
        """A subgraph attribute."""
        return self.attributes.graph(name)

    # Emitting ops.

    def emit_many(self, kind: OpKind, *operands: Value | None) -> tuple[Value, ...]:
        """Adds an op and gives its results; a misfit of types refuses the node."""
        return self._session.add(kind, operands, self.origin)

    def emit(self, kind: OpKind, *operands: Value | None) -> Value:
        """Adds an op with one result and gives it."""
        (result,) = self.emit_many(kind, *operands)
        return result

    def emit_folded(self, kind: OpKind, *operands: Value | None) -> Value:
        """Like `emit`, but gives a constant if all operands are known: for weights' layouts."""
        return self.folded(self.emit(kind, *operands))

    def folded(self, value: Value) -> Value:
        """A constant in place of a value that is known at compile time.

        What hangs on a Dequantize stays: passes want the integers.
        """
        if self._session.is_dequantized(value):
            return value
        array = self.content(value)
        return value if array is None else self.constant_value(array)

    def constant_value(self, array: Array) -> Value:
        """Adds a constant."""
        return self._session.constant(array, self.origin)

    def inline(
        self, graph: onnx.GraphProto, inputs: Sequence[Value | None] = ()
    ) -> tuple[Value, ...]:
        """Imports a subgraph of this node in place and gives its outputs."""
        return self._session.inline(graph, inputs, self)

    def scalar(self, number: builtins.float, dtype: DType) -> Value:
        """Adds a constant of rank 0."""
        return self.constant_value(np.asarray(number).astype(dtype.numpy))

    def unary(self, function: UnaryFunction, x: Value) -> Value:
        """function(x)."""
        return self.emit(Unary(function), x)

    def binary(self, function: BinaryFunction, lhs: Value, rhs: Value | builtins.float) -> Value:
        """function(lhs, rhs) with broadcasting; a number becomes a constant of lhs's dtype."""
        right = rhs if isinstance(rhs, Value) else self.scalar(rhs, lhs.type.dtype)
        return self.emit(Binary(function), lhs, right)

    def select(self, condition: Value, on_true: Value, on_false: Value) -> Value:
        """Picks elements: condition ? on_true : on_false."""
        return self.emit(Select(), condition, on_true, on_false)

    def cast(self, x: Value, dtype: DType) -> Value:
        """Converts x to another dtype; x itself if it has it."""
        return x if x.type.dtype is dtype else self.emit(Cast(dtype), x)

    def reshape(self, x: Value, shape: Sequence[builtins.int]) -> Value:
        """Reshapes x; x itself if it has the shape."""
        return x if x.type.shape == tuple(shape) else self.emit(Reshape(tuple(shape)), x)

    def transpose(self, x: Value, permutation: Sequence[builtins.int]) -> Value:
        """Permutes the dimensions of x; x itself if nothing moves."""
        kept = tuple(permutation) == tuple(range(x.type.rank))
        return x if kept else self.emit(Transpose(tuple(permutation)), x)

    def broadcast(self, x: Value, shape: Sequence[builtins.int]) -> Value:
        """Repeats x up to a shape; x itself if it has it."""
        return x if x.type.shape == tuple(shape) else self.emit(Broadcast(tuple(shape)), x)

    def axis(self, axis: builtins.int, rank: builtins.int) -> builtins.int:
        """An axis that may count from the end, as 0 <= axis < rank."""
        if not -rank <= axis < rank:
            self.refuse(f"axis {axis} is outside rank {rank}", code=Code.MODEL_MALFORMED)
        return axis % rank

    def check_rank(self, value: Value, least: builtins.int, most: builtins.int = MAX_RANK) -> None:
        """Refuses the node unless the value has at least `least`, at most `most` dimensions."""
        if not least <= value.type.rank <= most:
            self.refuse(f"{value.type} has the wrong number of dimensions", code=Code.TYPE_MISMATCH)

    def check_table(self, *dims: builtins.int, most: builtins.int = MAX_TABLE_ELEMENTS) -> None:
        """Refuses the node unless a table of these dimensions can be computed at compile time."""
        if min(dims, default=0) < 0 or math.prod(dims) > most:
            listed = " x ".join(map(str, dims))
            self.refuse(f"a table of {listed} elements", code=Code.LIMIT_EXCEEDED)

    def refuse(self, reason: str, hint: str = "", code: Code = Code.UNSUPPORTED_FORM) -> NoReturn:
        """Turns the node down; the diagnostics of all nodes are reported together."""
        raise NodeRefusal(reason, hint, code)

    def refuse_unknown(self, value: Value, reason: str, hint: str = "") -> NoReturn:
        """Turns the node down because graph inputs feed `value`; the diagnostic names them."""
        behind = self._session.inputs_behind(value)
        raise NodeRefusal(reason, hint, Code.UNSUPPORTED_FORM, behind)
