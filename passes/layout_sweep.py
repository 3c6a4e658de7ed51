"""The sweep of layout propagation: rebuilds a graph, each transpose carried along as a view."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.graph import Graph, Location, Op, Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.elementwise import Binary, Cast, Clamp, Select, Unary
from lepton_cc.ir.ops.integer import QuantizedAdd, QuantizedMul, Requantize, Table
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Concat, Reshape, Transpose
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.ops.wide_functions import InterpolatedTable
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.tensor import Tensor
from lepton_cc.passes.layout_view import Regions, Transposer, View, alignment, plain
from lepton_cc.passes.permutation import (
    Group,
    Permutation,
    between,
    compose,
    extended,
    identity,
    moves_nothing,
    reshape_groups,
)
from lepton_cc.passes.transposed_ops import transposed_op

_ONE_OPERAND = (Unary, Clamp, Cast, Table, InterpolatedTable)
_INTEGER = (Requantize, QuantizedAdd, QuantizedMul)
_POINTWISE = (*_ONE_OPERAND, *_INTEGER, Binary, Select, Quantize, Dequantize)


@dataclass(frozen=True, slots=True)
class _RowOrder:
    """A flattened last dimension whose elements are in another order than the value's.

    `dims` are the flattened dimensions in the value's order; dimension order[i] comes i-th in the
    elements at hand.
    """

    dims: tuple[int, ...]
    order: Permutation


class LayoutSweep:
    """One walk over the ops of a static graph; `pinned` are indices of transposes that stay.

    State of the walk: the graph under construction and the view of each old value. `regions` tells
    afterwards how many more elements each region of transposes moves than before.
    """

    def __init__(self, graph: Graph, pinned: frozenset[int]) -> None:
        names = [v.name for v in graph.inputs]
        names += [result.name for op in graph.ops for result in op.results]
        self.regions = Regions()
        self.laws = Statistics()
        self._graph = graph
        self._pinned = pinned
        self._builder = GraphBuilder(graph.name, names)
        self._transposer = Transposer(self._builder, self.regions)
        self._views: dict[Value, View] = {}
        self._row_orders: dict[Value, _RowOrder] = {}
        self._uses = graph.uses()
        self._producers: Mapping[Value, Op] = graph.producers()
        self._outputs = frozenset(graph.outputs)

    def run(self) -> Graph:
        """The rebuilt graph; ops that became useless are still in it."""
        for value in self._graph.inputs:
            self._views[value] = plain(self._builder.input(value.name, value.type))
        for index, op in enumerate(self._graph.ops):
            if isinstance(op.kind, Transpose) and index not in self._pinned:
                self._absorb_transpose(op, op.kind, index)
            else:
                self._visit(op)
        outputs = [self._real(value, Location()) for value in self._graph.outputs]
        return self._builder.finish(outputs, self._graph.output_names)

    def _absorb_transpose(self, op: Op, kind: Transpose, index: int) -> None:
        (x,) = op.inputs
        if _has_axis_quantization(op):
            self._keep(op)
            return
        view = self._views[x]
        region = self.regions.join(view.region, index)
        if not isinstance(self._producer_kind(x), Constant) and not moves_nothing(
            x.type.shape, kind.permutation
        ):
            self.regions.charge(region, -x.type.num_elements)
        permutation = compose(view.permutation, kind.permutation)
        self._views[op.result] = View(view.base, permutation, region)
        if permutation == identity(len(permutation)) and not view.is_plain:
            self.laws.count("transpose(transpose(x, p), inverse of p) = x")

    def _visit(self, op: Op) -> None:
        if any(v in self._row_orders for v in op.inputs):
            self._carry_row_order(op)
            return
        views = [self._views[v] for v in op.inputs]
        if all(view.is_plain for view in views) or _has_axis_quantization(op):
            self._keep(op)
            return
        kind, passed = op.kind, False
        if isinstance(kind, _POINTWISE):
            passed = self._pass_pointwise(op)
        elif isinstance(kind, Concat):
            passed = self._pass_concat(op, kind)
        elif isinstance(kind, Reshape):
            passed = self._pass_reshape(op, kind)
        elif isinstance(kind, MatMul):
            passed = self._pass_matmul(op)
        else:
            passed = self._pass_first_operand(op)
        if not passed:
            self._keep(op)

    def _keep(self, op: Op) -> None:
        """The op as it is, on real operands."""
        operands = tuple(None if v is None else self._real(v, op.location) for v in op.operands)
        self._builder.append(Op(op.kind, operands, op.results, op.location))
        for result in op.results:
            self._views[result] = plain(result)

    def _real(self, value: Value, location: Location) -> Value:
        return self._transposer.real(self._views[value], location)

    def _producer_kind(self, value: Value) -> OpKind | None:
        producer = self._producers.get(value)
        return None if producer is None else producer.kind

    def _emit(
        self, op: Op, kind: OpKind, operands: Sequence[Value | None], permutation: Permutation
    ) -> Value:
        """Emits what computes the op's result before its transpose."""
        (type_,) = kind.infer([None if v is None else v.type for v in operands])
        old = op.result
        if tuple(type_.shape[axis] for axis in permutation) != old.type.shape:
            raise InternalError(f"{kind.mnemonic} {op.location}: {type_} is no layout of {old}")
        base = Value(old.name, type_)
        self._builder.append(Op(kind, tuple(operands), (base,), op.location))
        return base

    def _emit_passed(
        self,
        op: Op,
        kind: OpKind,
        operands: Sequence[Value | None],
        permutation: Permutation,
        region: int,
    ) -> None:
        base = self._emit(op, kind, operands, permutation)
        self._views[op.result] = View(base, permutation, region)
        self.laws.count(f"{kind.mnemonic}(transpose(x)) = transpose({kind.mnemonic}(x))")

    def _pass_first_operand(self, op: Op) -> bool:
        view = None if op.operands[0] is None else self._views[op.operands[0]]
        if view is None or view.is_plain or len(op.results) != 1:
            return False
        types = tuple(None if v is None else v.type for v in op.operands)
        law = transposed_op(op.kind, types, view.permutation)
        if law is None:
            return False
        others = [None if v is None else self._real(v, op.location) for v in op.operands[1:]]
        self._emit_passed(op, law.kind, [view.base, *others], law.permutation, view.region)
        return True

    def _pass_pointwise(self, op: Op) -> bool:
        permutation = self._cheapest_layout(op)
        if permutation == identity(op.result.type.rank):
            return False
        views = [self._views[v] for v in op.inputs]
        region = self.regions.join(*(view.region for view in views))
        operands = [
            self._transposer.aligned(view, permutation, region, op.location) for view in views
        ]
        self._emit_passed(op, op.kind, operands, permutation, region)
        return True

    def _pass_concat(self, op: Op, kind: Concat) -> bool:
        permutation = self._cheapest_layout(op)
        if permutation == identity(op.result.type.rank):
            return False
        views = [self._views[v] for v in op.inputs]
        region = self.regions.join(*(view.region for view in views))
        operands = [
            self._transposer.transposed(
                view.base, alignment(view, permutation), region, op.location
            )
            for view in views
        ]
        self._emit_passed(op, Concat(permutation[kind.axis]), operands, permutation, region)
        return True

    def _cheapest_layout(self, op: Op) -> Permutation:
        """The transpose of the result for which the fewest elements move, here and at its uses."""
        views = [self._views[v] for v in op.inputs]
        rank = op.result.type.rank
        candidates = dict.fromkeys(
            extended(view.permutation, rank) for view in views if not view.is_plain
        )
        candidates[identity(rank)] = None
        return min(
            candidates,
            key=lambda p: self._operands_cost(views, p) + self._uses_cost(op.result, p),
        )

    def _operands_cost(self, views: Sequence[View], permutation: Permutation) -> int:
        return sum(
            self._transposer.cost(view.base, alignment(view, permutation)) for view in set(views)
        )

    def _uses_cost(self, value: Value, permutation: Permutation) -> int:
        """Elements that the value's direct uses would move if it came transposed."""
        shape = tuple(value.type.shape[permutation.index(a)] for a in range(len(permutation)))
        wanted = {
            use.kind.permutation
            for use in self._uses.get(value, ())
            if isinstance(use.kind, Transpose)
        }
        if value in self._outputs:
            wanted.add(identity(len(permutation)))
        moves = [w for w in wanted if not moves_nothing(shape, compose(permutation, w))]
        return len(moves) * value.type.num_elements

    def _pass_matmul(self, op: Op) -> bool:
        """Leading dimensions of lhs may come in any order if rhs has none."""
        lhs, rhs, *_ = op.inputs
        view = self._views[lhs]
        last = len(view.permutation) - 1
        if rhs.type.rank != 2 or view.is_plain or view.permutation[last] != last:
            return False
        others = [self._real(v, op.location) for v in op.inputs[1:]]
        self._emit_passed(op, op.kind, [view.base, *others], view.permutation, view.region)
        return True

    def _pass_reshape(self, op: Op, kind: Reshape) -> bool:
        (x,) = op.inputs
        view = self._views[x]
        groups = reshape_groups(x.type.dims, kind.shape)
        if groups is None or view.is_plain:
            return False
        if self._flatten_for_weights(op, kind, view, groups):
            return True
        p = view.permutation
        placed = sorted(groups, key=lambda group: p[group.source_axes[-1]])
        order = [p[axis] for group in placed for axis in group.source_axes]
        base = self._rearranged(view, order, op)
        wide = [axis for group in placed for axis in group.target_axes]
        ones = [axis for axis in range(len(kind.shape)) if axis not in wide]
        axes = ones + wide
        permutation = between(axes, range(len(axes)))
        shape = tuple(kind.shape[axis] for axis in axes)
        if moves_nothing(shape, permutation):
            shape, permutation = kind.shape, identity(len(shape))
        self._emit_passed(op, Reshape(shape), [base], permutation, view.region)
        return True

    def _rearranged(self, view: View, order: list[int], op: Op) -> Value:
        """The base with its dimensions above 1 in the given order."""
        if order == sorted(order):
            return view.base
        ones = tuple(axis for axis in range(len(view.permutation)) if axis not in order)
        return self._transposer.transposed(view.base, (*ones, *order), view.region, op.location)

    def _flatten_for_weights(
        self, op: Op, kind: Reshape, view: View, groups: tuple[Group, ...]
    ) -> bool:
        """reshape(transpose(x)) @ W = reshape(x) @ (W with its rows permuted)."""
        p = view.permutation
        last = groups[-1] if groups else Group((), ())
        flattened = [p[axis] for axis in last.source_axes]
        before = [p[axis] for group in groups[:-1] for axis in group.source_axes]
        order = before + sorted(flattened)
        if (
            last.target_axes != (len(kind.shape) - 1,)
            or flattened == sorted(flattened)
            or order != sorted(order)
            or op.result in self._outputs
            or not self._feeds_only_weights(op.result)
        ):
            return False
        base = self._emit(op, kind, [view.base], identity(len(kind.shape)))
        self._views[op.result] = plain(base)
        dims = tuple(view.base.type.dims[axis] for axis in flattened)
        self._row_orders[op.result] = _RowOrder(dims, between(flattened, sorted(flattened)))
        return True

    def _feeds_only_weights(self, value: Value) -> bool:
        uses = self._uses.get(value, ())
        return bool(uses) and all(self._takes_any_row_order(use, value) for use in uses)

    def _takes_any_row_order(self, op: Op, value: Value) -> bool:
        if _has_axis_quantization(op):
            return False
        if isinstance(op.kind, _ONE_OPERAND):
            return op.result not in self._outputs and self._feeds_only_weights(op.result)
        if not isinstance(op.kind, MatMul):
            return False
        lhs, weights, *bias = op.inputs
        constant = isinstance(self._producer_kind(weights), Constant)
        return lhs == value and constant and weights.type.rank == 2 and value not in bias

    def _carry_row_order(self, op: Op) -> None:
        row_order = self._row_orders[op.inputs[0]]
        if not isinstance(op.kind, MatMul):
            self._row_orders[op.result] = row_order
            self._keep(op)
            return
        lhs, weights, *others = op.inputs
        array = self._builder.constant_array(self._views[weights].base)
        if array is None:
            raise InternalError(f"matmul {op.location} lost its constant weights")
        columns = array.shape[1]
        split = array.reshape(*row_order.dims, columns)
        moved = np.transpose(split, (*row_order.order, len(row_order.dims)))
        rows = Constant(
            Tensor(moved.reshape(math.prod(row_order.dims), columns)), weights.type.quantization
        )
        permuted = self._builder.emit(rows, location=op.location, name=weights.name)
        operands = [
            self._real(lhs, op.location),
            permuted,
            *(self._real(v, op.location) for v in others),
        ]
        self._builder.append(Op(op.kind, tuple(operands), op.results, op.location))
        self._views[op.result] = plain(op.result)
        self.laws.count("matmul(reshape(transpose(x)), w) = matmul(reshape(x), rows of w permuted)")


def _has_axis_quantization(op: Op) -> bool:
    types = [value.type.quantization for value in (*op.inputs, *op.results)]
    return any(quantization is not None and quantization.axis is not None for quantization in types)
