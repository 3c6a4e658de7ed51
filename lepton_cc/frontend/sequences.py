"""ONNX sequences whose length is known at compile time: they fall apart into their tensors."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from lepton_cc.frontend.limits import MAX_PARAMETERS
from lepton_cc.frontend.movement import slice_axis
from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.frontend.scope import Operand, TensorSequence
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.movement import Concat


def _sequence(node: NodeView, elements: Sequence[Value]) -> Sequence[Operand]:
    if len({element.type.dtype for element in elements}) > 1:
        node.refuse("the elements of a sequence differ in type", code=Code.TYPE_MISMATCH)
    return (TensorSequence(tuple(elements)),)


def import_sequence_construct(node: NodeView) -> Sequence[Operand]:
    """SequenceConstruct."""
    return _sequence(node, [node.operand(index) for index in range(len(node.operands))])


def import_sequence_empty(node: NodeView) -> Sequence[Operand]:
    """SequenceEmpty."""
    return _sequence(node, ())


def _position(node: NodeView, index: int, length: int, default: int) -> int:
    """A position that counts from the end if it is negative; known at compile time."""
    position = default if node.optional(index) is None else node.constant_int(index)
    if not -length <= position < length:
        node.refuse(f"position {position} in a sequence of {length}", code=Code.MODEL_MALFORMED)
    return position % length


def import_sequence_at(node: NodeView) -> Sequence[Operand]:
    """SequenceAt with a position that is known at compile time."""
    elements = node.sequence(0)
    return (elements[_position(node, 1, len(elements), 0)],)


def import_sequence_insert(node: NodeView) -> Sequence[Operand]:
    """SequenceInsert with a position that is known at compile time."""
    elements = node.sequence(0)
    # A new element may stand behind the last one, so there is one position more.
    position = len(elements)
    if node.optional(2) is not None:
        position = node.constant_int(2)
        if not -len(elements) <= position <= len(elements):
            node.refuse(f"position {position} is outside", code=Code.MODEL_MALFORMED)
        position = position + len(elements) if position < 0 else position
    return _sequence(node, [*elements[:position], node.operand(1), *elements[position:]])


def import_sequence_erase(node: NodeView) -> Sequence[Operand]:
    """SequenceErase with a position that is known at compile time."""
    elements = node.sequence(0)
    position = _position(node, 1, len(elements), -1)
    return _sequence(node, [*elements[:position], *elements[position + 1 :]])


def import_sequence_length(node: NodeView) -> Sequence[Operand]:
    """SequenceLength: a constant."""
    return (node.constant_value(np.array(len(node.sequence(0)), np.int64)),)


def import_split_to_sequence(node: NodeView) -> Sequence[Operand]:
    """SplitToSequence into sizes that are known at compile time."""
    x = node.operand(0)
    axis = node.axis(node.int("axis", 0), x.type.rank)
    dim = x.type.dims[axis]
    split = node.optional(1)
    if split is None:
        node.check_table(dim, most=MAX_PARAMETERS)
        sizes = [1] * dim
    elif split.type.rank == 0:
        size = node.constant_int(1)
        if size < 1:
            node.refuse(f"parts of {size}", code=Code.MODEL_MALFORMED)
        node.check_table(-(-dim // size), most=MAX_PARAMETERS)
        sizes = [min(size, dim - start) for start in range(0, dim, size)]
    else:
        sizes = list(node.constant_ints(1))
    if sum(sizes) != dim or min(sizes, default=0) < 0:
        node.refuse(f"split {sizes} does not divide {dim}", code=Code.TYPE_MISMATCH)
    parts = []
    for end, size in zip(accumulate(sizes), sizes, strict=True):
        part = slice_axis(node, x, axis, end - size, size)
        if split is None and not node.flag("keepdims", True):
            part = node.reshape(part, (*x.type.dims[:axis], *x.type.dims[axis + 1 :]))
        parts.append(part)
    return _sequence(node, parts)


def import_concat_from_sequence(node: NodeView) -> Sequence[Operand]:
    """ConcatFromSequence, joining along an axis or stacking on a new one."""
    elements = node.sequence(0)
    if not elements:
        node.refuse("an empty sequence has no concatenation", code=Code.TYPE_MISMATCH)
    rank = elements[0].type.rank
    stacked = node.flag("new_axis")
    axis = node.axis(node.int("axis"), rank + stacked)
    if stacked:
        elements = tuple(
            node.reshape(e, (*e.type.dims[:axis], 1, *e.type.dims[axis:])) for e in elements
        )
    return (elements[0] if len(elements) == 1 else node.emit(Concat(axis), *elements),)


OPERATORS = (
    Operator("", "SequenceConstruct", 11, import_sequence_construct),
    Operator("", "SequenceEmpty", 11, import_sequence_empty),
    Operator("", "SequenceAt", 11, import_sequence_at),
    Operator("", "SequenceInsert", 11, import_sequence_insert),
    Operator("", "SequenceErase", 11, import_sequence_erase),
    Operator("", "SequenceLength", 11, import_sequence_length),
    Operator("", "SplitToSequence", 11, import_split_to_sequence),
    Operator("", "ConcatFromSequence", 11, import_concat_from_sequence),
)
