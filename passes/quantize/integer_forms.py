"""Which form each float op can take among integers, before anything is quantized.

The first step of quantizing a float graph: `quantization_points` builds on it. A form says what
raising (`raise_integers`) will make of the op once its surroundings are quantized.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.elementwise import Binary, Clamp
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Concat, Pad, PadMode, Reshape, Transpose
from lepton_cc.ir.ops.normalization import LayerNorm, RmsNorm
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.pool import AveragePool
from lepton_cc.ir.ops.recurrent import Gru, Lstm
from lepton_cc.ir.ops.reduce import ArgReduce, Reduce, ReduceFunction, Softmax
from lepton_cc.ir.ops.resample import Resample
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.recurrent import curve_of
from lepton_cc.passes.quantize.signed import keeps_order

_ARITHMETIC = (BinaryFunction.ADD, BinaryFunction.SUB, BinaryFunction.MUL)
# Tables are made of chains of at most 64 ops and constants.
_MAX_CHAIN = 20


class Form(enum.Enum):
    """What an op becomes when its operands and its result are integers."""

    CONTRACTION = "an integer sum of products with constant weights"
    COMPUTED = "an integer op with a scale of its own"
    RECURRENT = "an integer scan of quantized inputs, which keeps its state in fixed point"
    CLAMPED = "the bounds of the op before it"
    FUNCTION = "part of a table: a function of one tensor"
    MOVED = "the same op on integers, which keep their scale"
    JOINED = "the same op on integers, which are brought to one scale"
    ARGUMENT = "the same op, its result are indices"
    FLOAT = "nothing: it stays float"
    NONE = "nothing: it reads and gives no floats, or constants only"


# Ops that are quantized for their own sake; others follow what stands before or after them.
COMPUTING = frozenset({Form.CONTRACTION, Form.COMPUTED, Form.CLAMPED})


@dataclass(frozen=True, slots=True)
class IntegerForms:
    """The form of each op of a graph (by its first result), and what chains start from.

    `sources`: of a result of FUNCTION form, the value that it is a function of.
    """

    forms: Mapping[Value, Form]
    sources: Mapping[Value, Value]
    constants: Mapping[Value, Array]

    def of(self, op: Op) -> Form:
        """The form of an op."""
        return self.forms[op.results[0]]


def integer_forms(graph: Graph) -> IntegerForms:
    """Classifies every op of a float graph."""
    return _Classifier(graph).run()


class _Classifier:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._uses = graph.uses()
        self._producers = graph.producers()
        self._outputs = frozenset(graph.outputs)
        self._constants: dict[Value, Array] = {}
        self._forms: dict[Value, Form] = {}
        self._sources: dict[Value, Value] = {}
        self._lengths: dict[Value, int] = {}

    def run(self) -> IntegerForms:
        for op in self._graph.ops:
            if isinstance(op.kind, Constant):
                self._constants[op.result] = op.kind.value.array
            self._forms[op.results[0]] = self._form(op)
        return IntegerForms(self._forms, self._sources, self._constants)

    def _form(self, op: Op) -> Form:
        variables = [v for v in op.inputs if v not in self._constants]
        if not variables or not any(v.type.dtype.is_float for v in (*variables, *op.results)):
            return Form.NONE
        if isinstance(op.kind, Lstm | Gru):
            return Form.RECURRENT if self._is_integer_layer(op) else Form.FLOAT
        if len(op.results) != 1:
            return Form.FLOAT
        if Trait.POINTWISE in op.kind.traits:
            return self._pointwise(op)
        if isinstance(op.kind, ArgReduce) and op.inputs[0].type.dtype is DType.F32:
            return Form.ARGUMENT
        if op.inputs[0].type.dtype is not DType.F32 or op.result.type.dtype is not DType.F32:
            return Form.FLOAT
        if isinstance(op.kind, Conv | ConvTranspose | MatMul):
            return self._contraction(op)
        if isinstance(op.kind, Concat):
            return Form.JOINED
        if isinstance(op.kind, Pad):
            return self._padding(op, op.kind)
        if keeps_order(op.kind):
            return Form.MOVED if op.inputs[0].type.num_elements else Form.FLOAT
        return Form.COMPUTED if self._is_computed(op) else Form.FLOAT

    def _contraction(self, op: Op) -> Form:
        if len(op.inputs) > 2 and op.inputs[2] not in self._constants:
            return Form.FLOAT
        lhs, rhs = op.inputs[:2]
        if rhs in self._constants and lhs not in self._constants:
            return Form.CONTRACTION if rhs.type.num_elements else Form.FLOAT
        return Form.COMPUTED if isinstance(op.kind, MatMul) else Form.FLOAT

    def _is_integer_layer(self, op: Op) -> bool:
        """True for layers with known weights and activations that level off."""
        kind = op.kind
        assert isinstance(kind, Lstm | Gru)
        known = list(op.operands[1:4])
        if isinstance(kind, Gru):
            known += op.operands[5:6]
        elif any(value is not None for value in op.operands[6:7]):
            return False
        return (
            op.inputs[0].type.dtype is DType.F32
            and op.inputs[0] not in self._constants
            and all(value is None or value in self._constants for value in known)
            and all(curve_of(activation) is not None for activation in kind.activations)
        )

    def _padding(self, op: Op, kind: Pad) -> Form:
        if kind.mode is not PadMode.CONSTANT or len(op.inputs) == 1:
            return Form.MOVED
        fill = self._constants.get(op.inputs[1])
        if fill is None or not np.all(np.isfinite(fill)):
            return Form.FLOAT
        return Form.JOINED if np.any(fill) else Form.MOVED

    def _is_computed(self, op: Op) -> bool:
        kind = op.kind
        if isinstance(kind, Reduce):
            return kind.function in (ReduceFunction.SUM, ReduceFunction.MEAN)
        if isinstance(kind, AveragePool):
            return bool(np.all(kind.counts(op.inputs[0].type.dims[1:-1]) > 0))
        if isinstance(kind, Softmax):
            return not kind.log
        # Tables of a resize, scale and bias of a norm.
        known = all(v in self._constants for v in op.inputs[1:])
        return known and isinstance(kind, Resample | LayerNorm | RmsNorm)

    def _pointwise(self, op: Op) -> Form:
        if self._narrows(op):
            return Form.CLAMPED
        sources: dict[Value, None] = {}
        length, constant_tensors = 1, False
        for operand in op.inputs:
            if operand in self._constants:
                constant_tensors |= self._constants[operand].size != 1
                continue
            sources[self._sources.get(operand, operand)] = None
            length += self._lengths.get(operand, 0)
        source = next(iter(sources))
        fits = source.type.dtype is DType.F32 and source.type.shape == op.result.type.shape
        if len(sources) == 1 and fits and not constant_tensors and length <= _MAX_CHAIN:
            self._sources[op.result], self._lengths[op.result] = source, length
            return Form.FUNCTION
        of_reals = all(v.type.dtype is DType.F32 for v in op.inputs)
        if isinstance(op.kind, Binary) and op.kind.function in _ARITHMETIC and of_reals:
            return Form.COMPUTED
        return Form.FLOAT

    def _narrows(self, op: Op) -> bool:
        """True for a clamp around 0 that alone reads what an op computes, views apart."""
        if not isinstance(op.kind, Clamp) or not op.kind.low <= 0 <= op.kind.high:
            return False
        value = op.inputs[0]
        while value not in self._outputs and len(self._uses[value]) == 1:
            producer = self._producers.get(value)
            if producer is None:
                return False
            if isinstance(producer.kind, Transpose | Reshape):
                value = producer.inputs[0]
                continue
            form = self._forms[producer.results[0]]
            if form is Form.COMPUTED and isinstance(producer.kind, Softmax):
                return False
            return form in COMPUTING
        return False
