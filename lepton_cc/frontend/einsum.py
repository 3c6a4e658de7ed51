"""ONNX Einsum: any equation, as diagonals, sums, broadcast products and one matmul a step.

Operands are combined from left to right. A label that no later operand and not the result has is
summed as soon as it can be: inside one operand by a reduction, between two by the matmul.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Gather
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction

# Dimensions of an ellipsis are labelled from the right: ".0" is the last one.
Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Term:
    """A value and the label of each of its dimensions; no label twice."""

    value: Value
    labels: Labels

    def size(self, label: str) -> int:
        return self.value.type.dims[self.labels.index(label)] if label in self.labels else 1


def _labels(node: NodeView, text: str, rank: int | None) -> Labels:
    """The labels of one term; `rank` sizes its ellipsis (None: 0 dimensions)."""
    head, dots, tail = text.partition("...")
    if not (head + tail).isalpha() and head + tail:
        node.refuse(f"einsum term {text!r} is malformed", code=Code.MODEL_MALFORMED)
    hidden = (rank or 0) - len(head) - len(tail) if dots and rank is not None else 0
    if rank is not None and (hidden < 0 or len(head) + hidden + len(tail) != rank):
        node.refuse(f"einsum term {text!r} has not rank {rank}", code=Code.MODEL_MALFORMED)
    return (*head, *(f".{index}" for index in reversed(range(hidden))), *tail)


def _parsed(node: NodeView) -> tuple[list[_Term], Labels]:
    equation = node.string("equation").replace(" ", "")
    left, arrow, right = equation.partition("->")
    texts = left.split(",")
    if len(texts) != len(node.operands):
        node.refuse(
            f"equation {equation!r} for {len(node.operands)} operands", code=Code.MODEL_MALFORMED
        )
    terms = []
    for index, text in enumerate(texts):
        value = node.operand(index)
        terms.append(_term(node, value, _labels(node, text, value.type.rank)))
    seen = [label for term in terms for label in term.labels]
    dots = sorted({label for label in seen if label[0] == "."}, key=lambda dot: -int(dot[1:]))
    if not arrow:
        letters = "".join(texts).replace(".", "")
        once = sorted(letter for letter in set(letters) if letters.count(letter) == 1)
        return terms, (*dots, *once)
    head, ellipsis, tail = right.partition("...")
    output = (*head, *(dots if ellipsis else ()), *tail)
    if len(set(output)) != len(output) or not set(output) <= set(seen):
        node.refuse(f"einsum output {right!r} does not fit", code=Code.MODEL_MALFORMED)
    return terms, output


def _term(node: NodeView, value: Value, labels: Labels) -> _Term:
    """The operand with repeated labels resolved to diagonals."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            value = _diagonal(node, value, first, second)
            labels = (
                *labels[:first],
                *labels[first + 1 : second],
                *labels[second + 1 :],
                label,
            )
    return _Term(value, labels)


def _diagonal(node: NodeView, value: Value, first: int, second: int) -> Value:
    """The diagonal of two equal dimensions, as the last dimension."""
    dims = value.type.dims
    if dims[first] != dims[second]:
        node.refuse(f"diagonal of {value.type} is not square", code=Code.MODEL_MALFORMED)
    rest = [axis for axis in range(len(dims)) if axis not in (first, second)]
    moved = node.transpose(value, (*rest, first, second))
    kept, size = [dims[axis] for axis in rest], dims[first]
    flat = node.reshape(moved, (*kept, size * size))
    index = node.constant_value(np.arange(size, dtype=np.int64) * (size + 1))
    return node.emit(Gather(len(kept)), flat, index)


def _summed(node: NodeView, term: _Term, kept: set[str]) -> _Term:
    """The term without the labels that nobody else needs."""
    axes = tuple(axis for axis, label in enumerate(term.labels) if label not in kept)
    if not axes:
        return term
    value = node.emit(Reduce(ReduceFunction.SUM, axes, keep_dims=False), term.value)
    return _Term(value, tuple(label for label in term.labels if label in kept))


def _arranged(node: NodeView, term: _Term, labels: Labels) -> Value:
    """The term's value with the dimensions of `labels` in order, size 1 where it has none."""
    present = [label for label in labels if label in term.labels]
    moved = node.transpose(term.value, [term.labels.index(label) for label in present])
    return node.reshape(moved, [term.size(label) for label in labels])


def _combined(node: NodeView, lhs: _Term, rhs: _Term, kept: set[str]) -> _Term:
    """The product of two terms, summed over the shared labels that are not kept."""
    shared = [label for label in lhs.labels if label in rhs.labels]
    for label in shared:
        sizes = {lhs.size(label), rhs.size(label)} - {1}
        if len(sizes) > 1:
            node.refuse(f"sizes of label {label!r} differ", code=Code.MODEL_MALFORMED)
    summed = tuple(label for label in shared if label not in kept)
    if any(lhs.size(label) != rhs.size(label) for label in summed):
        # One of them broadcasts along a summed label: multiply first.
        summed = ()
    batch = tuple(label for label in shared if label not in summed)
    rows = tuple(label for label in lhs.labels if label not in shared)
    columns = tuple(label for label in rhs.labels if label not in shared)
    labels = (*batch, *rows, *columns)
    if not summed:
        left, right = (_arranged(node, term, labels) for term in (lhs, rhs))
        product = _Term(node.binary(BinaryFunction.MUL, left, right), labels)
        return _summed(node, product, kept)
    depth = math.prod(lhs.size(label) for label in summed)
    left = _arranged(node, lhs, (*batch, *rows, *summed))
    right = _arranged(node, rhs, (*batch, *summed, *columns))
    num_rows = math.prod(lhs.size(label) for label in rows)
    num_columns = math.prod(rhs.size(label) for label in columns)
    left = node.reshape(left, (*left.type.dims[: len(batch)], num_rows, depth))
    right = node.reshape(right, (*right.type.dims[: len(batch)], depth, num_columns))
    value = node.emit(MatMul(), left, right)
    sizes_out = [*value.type.dims[: len(batch)]]
    sizes_out += [lhs.size(label) for label in rows] + [rhs.size(label) for label in columns]
    return _Term(node.reshape(value, sizes_out), labels)


def import_einsum(node: NodeView) -> Sequence[Value | None]:
    """Einsum: every equation, with ellipsis and repeated labels."""
    terms, output = _parsed(node)
    total = terms[0]
    for index, term in enumerate(terms[1:], start=1):
        kept = set(output).union(*(later.labels for later in terms[index + 1 :]))
        left = _summed(node, total, kept | set(term.labels))
        right = _summed(node, term, kept | set(total.labels))
        total = _combined(node, left, right, kept)
    return (_arranged(node, _summed(node, total, set(output)), output),)


OPERATORS = (Operator("", "Einsum", 12, import_einsum),)
