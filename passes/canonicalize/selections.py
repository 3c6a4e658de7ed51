"""Laws of select."""

import numpy as np

from lepton_cc.ir.graph import Op
from lepton_cc.ir.ops.elementwise import Select, Unary
from lepton_cc.ir.ops.movement import Broadcast
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, rule, same_type


@rule("select(true, x, y) = x, select(false, x, y) = y", Select)
def constant_condition(op: Op, rewriter: Rewriter) -> Replacement:
    condition, on_true, on_false = op.inputs
    element = rewriter.uniform(condition)
    if element is None:
        return None
    chosen = on_true if np.any(element) else on_false
    if chosen.type != op.result.type:
        chosen = rewriter.emit(Broadcast(op.result.type.dims), chosen)
    return same_type(op, chosen)


@rule("select(c, x, x) = x", Select)
def equal_choices(op: Op, rewriter: Rewriter) -> Replacement:
    _, on_true, on_false = op.inputs
    return same_type(op, on_true) if on_true == on_false else None


@rule("select(not c, x, y) = select(c, y, x)", Select)
def negated_condition(op: Op, rewriter: Rewriter) -> Replacement:
    condition, on_true, on_false = op.inputs
    inner = rewriter.match(condition, Unary)
    if inner is None or inner[0].function is not UnaryFunction.NOT:
        return None
    return (rewriter.emit(Select(), inner[1].inputs[0], on_false, on_true),)


RULES: tuple[Rule, ...] = (constant_condition, equal_choices, negated_condition)
