"""Compile-time content of values: evaluates what hangs on constants alone, lazily and once."""

import math

from lepton_cc.frontend.limits import MAX_FOLDED_BYTES, MAX_FOLDED_WORK
from lepton_cc.frontend.refusal import NodeRefusal
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.tensor import Array


def _work(op: Op) -> int:
    """A bound on the steps of evaluating an op: elements touched, times a contraction's depth."""
    elements = sum(value.type.num_elements for value in (*op.inputs, *op.results))
    window = getattr(op.kind, "window", None)
    if window is not None:
        elements *= math.prod(window.size)
    if Trait.CONTRACTION in op.kind.traits:
        elements *= max(1, *(value.type.dims[-1] for value in op.inputs if value.type.rank))
    return elements


class ConstantFolder:
    """Evaluates values of a builder whose producers all lead back to constants.

    What it makes may take a fixed amount of memory, and twice what the constants behind it take.
    """

    def __init__(self, builder: GraphBuilder) -> None:
        self._builder = builder
        self._arrays: dict[Value, Array] = {}
        self._variable: set[Value] = set()
        self._bytes = 0
        self._allowed_bytes = MAX_FOLDED_BYTES

    def array(self, value: Value) -> Array | None:
        """The content of `value` (read-only), or None if it hangs on a graph input.

        Raises:
            NodeRefusal: evaluating it would take too much memory or time.
        """
        pending = [value]
        while pending:
            current = pending[-1]
            if current in self._arrays or current in self._variable:
                pending.pop()
                continue
            op = self._builder.producer(current)
            if op is None or any(operand in self._variable for operand in op.inputs):
                self._variable.add(current)
                pending.pop()
                continue
            missing = [operand for operand in op.inputs if operand not in self._arrays]
            if missing:
                pending.extend(missing)
            else:
                self._evaluate(op)
                pending.pop()
        return self._arrays.get(value)

    def _evaluate(self, op: Op) -> None:
        if isinstance(op.kind, Constant):
            self._allowed_bytes += 2 * op.result.type.size_bytes
        else:
            self._bytes += sum(result.type.size_bytes for result in op.results)
            if self._bytes > self._allowed_bytes or _work(op) > MAX_FOLDED_WORK:
                raise NodeRefusal(
                    f"computing {op.result.type} at compile time exceeds the limit",
                    "store the content in the model",
                    Code.LIMIT_EXCEEDED,
                )
        operands = [None if value is None else self._arrays[value] for value in op.operands]
        for result, array in zip(op.results, op.kind.evaluate(operands), strict=True):
            self._arrays[result] = array
