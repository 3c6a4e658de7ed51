"""From one graph op to one kernel: chooses the lowering, wires sources, epilogue and sink.

A fused op has at most one anchor, whose own lowering makes the loops. Pointwise and movement ops
before it become its sources, those after it the epilogue of its stores. Without an anchor the
whole body is one source, written by `store_tensor`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from lepton_cc.codegen.kernel.expr import Const, Expr, index
from lepton_cc.codegen.kernel.ir import Block
from lepton_cc.codegen.kernel.types import Buffer
from lepton_cc.codegen.lower.anchors import ANCHORS
from lepton_cc.codegen.lower.context import (
    KernelContext,
    LoweredKernel,
    ScheduleOptions,
    Sink,
)
from lepton_cc.codegen.lower.movement import MOVEMENT_SOURCES
from lepton_cc.codegen.lower.padding import store_padded
from lepton_cc.codegen.lower.pointwise import pointwise_source
from lepton_cc.codegen.lower.representation import compute_type, is_narrow_float, rounded
from lepton_cc.codegen.lower.source import Index, Source, buffer_source, scalar_source
from lepton_cc.codegen.lower.store import collapsed_dims, store_tensor
from lepton_cc.codegen.lower.subbyte import elements_a_byte, packed_source
from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.fused import Fused
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Pad, PadMode
from lepton_cc.ir.target import Target
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.quantize.accumulator_bound import Integers, accumulator_bound


def lower_op(
    op: Op,
    name: str,
    target: Target,
    options: ScheduleOptions,
    constants: Mapping[Value, Array],
) -> LoweredKernel:
    """The kernel of an op; `constants` holds the content of values that are known."""
    return _OpLowering(op, name, target, options, constants).lower()


class _OpLowering:
    """Wires one op; holds the sources of the values that its body knows so far."""

    def __init__(
        self,
        op: Op,
        name: str,
        target: Target,
        options: ScheduleOptions,
        constants: Mapping[Value, Array],
    ) -> None:
        self.op = op
        self.body, self.outer = _unwrapped(op)
        self.constants = dict(constants)
        for body_op in self.body:
            if isinstance(body_op.kind, Constant):
                self.constants[body_op.result] = body_op.kind.value.array
        for inner, given in self.outer.items():
            if given in constants:
                self.constants[inner] = constants[given]
        self.anchor = _anchor(self.body)
        self.context = KernelContext(name, self.anchor or op, target, options)
        self.collapsed: dict[Value, TensorType] = {}
        self.sources: dict[Value, Source] = {}

    def lower(self) -> LoweredKernel:
        """Builds the kernel."""
        if self.anchor is None:
            return self._lower_flow()
        if len(self.op.results) > 1 and isinstance(self.op.kind, Fused):
            raise InternalError("a fused op has one result")
        return self._lower_anchor(self.anchor)

    def _lower_flow(self) -> LoweredKernel:
        if all(Trait.POINTWISE in op.kind.traits for op in self._computing(self.body)):
            self.collapsed = _collapsed_types(self.body, self.op.result)
        for op in self._computing(self.body):
            self.sources[op.result] = self._computed(op)
        last = self.body[-1].result
        sink_type = self.collapsed.get(last, self.op.result.type)
        sink = Sink(sink_type, self._result_buffer(0), lambda at, value: value)
        self.context.sinks = (sink,)
        final = self.body[-1]
        if isinstance(final.kind, Pad) and final.kind.mode is PadMode.CONSTANT:
            return self.context.finish(self._padded(final, final.kind))
        return self.context.finish(store_tensor(self.context, self._source(last)))

    def _padded(self, op: Op, kind: Pad) -> Block:
        x = self._source(op.inputs[0])
        if len(op.inputs) > 1:
            fill = self._source(op.inputs[1]).at_linear(index(0))
        else:
            fill = Const(compute_type(x.type.dtype), 0)
        return store_padded(self.context, kind, x, fill)

    def _lower_anchor(self, anchor: Op) -> LoweredKernel:
        place = self.body.index(anchor)
        for op in self._computing(self.body[:place]):
            self.sources[op.result] = self._computed(op)
        context = self.context
        context.sources = tuple(
            None if value is None else self._source(value) for value in anchor.operands
        )
        context.values = anchor.operands
        context.constants = self.constants
        context.given = self.outer
        if len(self.body) == 1:
            context.sinks = tuple(
                Sink(
                    result.type,
                    self._result_buffer(number),
                    lambda at, value: value,
                )
                for number, result in enumerate(self.op.results)
            )
        else:
            context.sinks = (self._epilogue_sink(anchor, self.body[place + 1 :]),)
        lowering = ANCHORS.get(type(anchor.kind))
        if lowering is None:
            raise InternalError(f"no lowering for {anchor.kind.mnemonic}")
        body: Block = lowering(context)
        return context.finish(body)

    def _epilogue_sink(self, anchor: Op, following: tuple[Op, ...]) -> Sink:
        after = self._computing(following)
        magnitude = self._magnitude(anchor)

        def finish(at: Index, value: Expr) -> Expr:
            if is_narrow_float(anchor.result.type.dtype):
                value = rounded(value, anchor.result.type.dtype)
            known = dict(self.sources)
            self.sources[anchor.result] = Source(
                anchor.result.type, lambda i: value, lambda number: value, magnitude=magnitude
            )
            for op in after:
                self.sources[op.result] = self._computed(op, through_at=True)
            result = self.sources[self.body[-1].result].at(at)
            self.sources = known
            return result

        return Sink(self.op.result.type, self._result_buffer(0), finish)

    def _computing(self, ops: tuple[Op, ...]) -> tuple[Op, ...]:
        return tuple(op for op in ops if not isinstance(op.kind, Constant))

    def _computed(self, op: Op, *, through_at: bool = False) -> Source:
        operands = tuple(self._source(value) for value in op.inputs)
        result = self.collapsed.get(op.result, op.result.type)
        if Trait.POINTWISE in op.kind.traits:
            source = pointwise_source(op.kind, operands, result, self.context.constant)
            return Source(source.type, source.at) if through_at else source
        movement = MOVEMENT_SOURCES.get(type(op.kind))
        if movement is None:
            raise InternalError(f"{op.kind.mnemonic} cannot be computed by the element")
        return movement(op.kind, operands, result)

    def _source(self, value: Value) -> Source:
        known = self.sources.get(value)
        if known is not None:
            return known
        type_ = self.collapsed.get(value, value.type)
        content = self.constants.get(value)
        if content is not None and content.size == 1:
            source = scalar_source(type_, content)
        elif content is not None and elements_a_byte(type_.dtype) > 1:
            source = packed_source(type_, content, self.context.constant)
        elif content is not None:
            source = buffer_source(type_, lambda: self.context.constant(content), content)
        else:
            given = self.outer.get(value, value)
            source = buffer_source(type_, lambda: self.context.parameter(given))
        if content is not None and type_.dtype in (DType.F32, DType.I32):
            source = replace(source, magnitude=float(np.abs(content).max(initial=0)))
        self.sources[value] = source
        return source

    def _magnitude(self, anchor: Op) -> float:
        """A bound of the results of an integer contraction with constants; else infinity."""
        kind, x = anchor.kind, anchor.inputs[0].type
        weights = self.constants.get(anchor.inputs[1]) if len(anchor.inputs) > 1 else None
        bias = self.constants.get(anchor.inputs[2]) if len(anchor.inputs) > 2 else None
        known = weights is not None and (bias is not None or len(anchor.inputs) <= 2)
        if not known or not isinstance(kind, Conv | MatMul) or not x.dtype.is_integer:
            return math.inf
        assert weights is not None
        return float(accumulator_bound(kind, Integers.of(x), weights, bias))

    def _result_buffer(self, number: int) -> Callable[[], Buffer]:
        return lambda: self.context.parameter(self.op.results[number], written=True)


def _unwrapped(op: Op) -> tuple[tuple[Op, ...], dict[Value, Value]]:
    """The ops to lower together, and the outer value of each of the body's inputs."""
    if isinstance(op.kind, Fused):
        return op.kind.body.ops, dict(zip(op.kind.body.inputs, op.inputs, strict=True))
    return (op,), {}


def _anchor(body: tuple[Op, ...]) -> Op | None:
    anchors = [op for op in body if type(op.kind) in ANCHORS]
    if len(anchors) > 1:
        raise InternalError("a fused op has at most one anchor")
    return anchors[0] if anchors else None


def _collapsed_types(body: tuple[Op, ...], result: Value) -> dict[Value, TensorType]:
    """Types of a pointwise body's values with dimensions merged that all of them treat alike."""
    values = {v for op in body for v in (*op.inputs, *op.results)}
    last = body[-1].result
    groups = collapsed_dims(last.type, [value.type for value in values])
    collapsed: dict[Value, TensorType] = {}
    for value in values:
        missing = last.type.rank - value.type.rank
        dims = (1,) * missing + value.type.dims
        merged = []
        for group in groups:
            size = 1
            for axis in group:
                size *= dims[axis]
            merged.append(size)
        collapsed[value] = value.type.with_shape(tuple(merged))
    return collapsed
