"""ONNX If, Loop and Scan: what is decided at compile time is inlined and unrolled."""

from collections.abc import Sequence

import numpy as np
import onnx

from lepton_cc.frontend.limits import MAX_UNROLLED_ITERATIONS
from lepton_cc.frontend.movement import slice_axis
from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.movement import Concat


def import_if(node: NodeView) -> Sequence[Value | None]:
    """If: the taken branch if the condition is known; else both, and a select of equal types."""
    condition = node.operand(0)
    if condition.type.num_elements != 1:
        node.refuse(f"the condition is {condition.type}, not a scalar", code=Code.TYPE_MISMATCH)
    known = node.content(condition)
    if known is not None:
        branch = "then_branch" if bool(known.reshape(())) else "else_branch"
        return node.inline(node.graph(branch))
    on_true = node.inline(node.graph("then_branch"))
    on_false = node.inline(node.graph("else_branch"))
    if [v.type for v in on_true] != [v.type for v in on_false]:
        node.refuse_unknown(
            condition,
            "the branches differ in type and the condition is not known at compile time",
            "give the graph inputs that feed the condition a value",
        )
    flag = node.reshape(condition, ())
    return [node.select(flag, a, b) for a, b in zip(on_true, on_false, strict=True)]


def _stacked(node: NodeView, parts: Sequence[Value], axis: int) -> Value:
    widened = []
    for part in parts:
        at = node.axis(axis, part.type.rank + 1)
        dims = (*part.type.dims[:at], 1, *part.type.dims[at:])
        widened.append(node.reshape(part, dims))
    if len(widened) == 1:
        return widened[0]
    return node.emit(Concat(node.axis(axis, widened[0].type.rank)), *widened)


def _known_flag(node: NodeView, value: Value) -> bool:
    content = node.content(value)
    if content is None or content.size != 1:
        node.refuse_unknown(
            value,
            "the loop's condition must be known at compile time",
            "loops are unrolled: give the trip count as a constant",
        )
    return bool(content.reshape(()))


def import_loop(node: NodeView) -> Sequence[Value | None]:
    """Loop, unrolled: trip count and condition must be known at compile time (at most 1024)."""
    body = node.graph("body")
    trip_count = None if node.optional(0) is None else node.constant_ints(0)[0]
    running = node.optional(1) is None or _known_flag(node, node.operand(1))
    carried = [node.operand(index) for index in range(2, len(node.operands))]
    collected: list[list[Value]] = [[] for _ in range(len(body.output) - 1 - len(carried))]
    iteration = 0
    while running and (trip_count is None or iteration < trip_count):
        if iteration == MAX_UNROLLED_ITERATIONS:
            message = f"the loop runs more than {MAX_UNROLLED_ITERATIONS} times"
            node.refuse(message, code=Code.LIMIT_EXCEEDED)
        counter = node.constant_value(np.array(iteration, np.int64))
        condition = node.constant_value(np.array(True))
        results = node.inline(body, (counter, condition, *carried))
        running = _known_flag(node, results[0])
        carried = list(results[1 : 1 + len(carried)])
        for parts, value in zip(collected, results[1 + len(carried) :], strict=True):
            parts.append(value)
        iteration += 1
    return [*carried, *_scan_outputs(node, collected, len(carried), (0,) * len(collected))]


def _scan_outputs(
    node: NodeView, collected: Sequence[Sequence[Value]], first: int, axes: Sequence[int]
) -> list[Value | None]:
    outputs: list[Value | None] = []
    for index, parts in enumerate(collected):
        if not node.output_used(first + index):
            outputs.append(None)
        elif not parts:
            node.refuse("a scan output of no iterations has no shape")
        else:
            outputs.append(_stacked(node, parts, axes[index]))
    return outputs


def _axes(node: NodeView, name: str, count: int) -> tuple[int, ...]:
    axes = node.ints(name, (0,) * count)
    if len(axes) != count:
        node.refuse(f"{name} has {len(axes)} entries, not {count}", code=Code.MODEL_MALFORMED)
    return axes


def import_scan(node: NodeView) -> Sequence[Value | None]:
    """Scan over axes in either direction, unrolled (at most 1024 steps), from opset 9 on."""
    body: onnx.GraphProto = node.graph("body")
    num_scanned = node.int("num_scan_inputs")
    num_states = len(node.operands) - num_scanned
    num_outputs = len(body.output) - num_states
    if num_scanned < 1 or num_states < 0 or num_outputs < 0:
        node.refuse("the body does not fit the inputs", code=Code.MODEL_MALFORMED)
    states = [node.operand(index) for index in range(num_states)]
    scanned = [node.operand(num_states + index) for index in range(num_scanned)]
    axes = [
        node.axis(axis, value.type.rank)
        for axis, value in zip(_axes(node, "scan_input_axes", num_scanned), scanned, strict=True)
    ]
    lengths = {value.type.dims[axis] for axis, value in zip(axes, scanned, strict=True)}
    if len(lengths) != 1 or max(lengths) > MAX_UNROLLED_ITERATIONS:
        message = f"lengths {sorted(lengths)} must be one, at most {MAX_UNROLLED_ITERATIONS}"
        node.refuse(message, code=Code.LIMIT_EXCEEDED)
    (length,) = lengths
    backward = _axes(node, "scan_input_directions", num_scanned)
    collected: list[list[Value]] = [[] for _ in range(num_outputs)]
    for step in range(length):
        elements = [
            _element(node, value, axis, length - 1 - step if flip else step)
            for value, axis, flip in zip(scanned, axes, backward, strict=True)
        ]
        results = node.inline(body, (*states, *elements))
        states = list(results[:num_states])
        for parts, value in zip(collected, results[num_states:], strict=True):
            parts.append(value)
    flips = _axes(node, "scan_output_directions", num_outputs)
    ordered = [parts[::-1] if flip else parts for parts, flip in zip(collected, flips, strict=True)]
    out_axes = _axes(node, "scan_output_axes", num_outputs)
    return [*states, *_scan_outputs(node, ordered, num_states, out_axes)]


def _element(node: NodeView, x: Value, axis: int, index: int) -> Value:
    dims = x.type.dims
    return node.reshape(slice_axis(node, x, axis, index, 1), (*dims[:axis], *dims[axis + 1 :]))


OPERATORS = (
    Operator("", "If", 1, import_if),
    Operator("", "Loop", 1, import_loop),
    Operator("", "Scan", 9, import_scan),
)
