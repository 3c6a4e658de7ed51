"""Expands what a target has no instruction for; the last step before an emitter.

The expansions are exact, so a model's results do not depend on which targets need them.
"""

from lepton_cc.codegen.kernel.ir import Expr, Kernel, Unary, UnaryOp, is_float
from lepton_cc.codegen.kernel.math.rounding import rounded, square_root_of
from lepton_cc.codegen.kernel.rewrite import rewrite
from lepton_cc.ir.target import Target

_ROUNDINGS = frozenset({UnaryOp.FLOOR, UnaryOp.CEIL, UnaryOp.TRUNC, UnaryOp.ROUND_EVEN})


def legalize(kernel: Kernel, target: Target) -> Kernel:
    """The kernel in what the target executes."""
    return expand(
        kernel,
        roundings=not target.rounding_instructions,
        square_roots=not target.square_root_instruction,
    )


def expand(kernel: Kernel, *, roundings: bool, square_roots: bool) -> Kernel:
    """The kernel without roundings to integers, or without square roots, or both."""
    if not roundings and not square_roots:
        return kernel

    def rule(expr: Expr) -> Expr:
        if not isinstance(expr, Unary) or not is_float(expr.type):
            return expr
        if roundings and expr.op in _ROUNDINGS:
            return rounded(expr.op, expr.operand)
        if square_roots and expr.op is UnaryOp.SQRT:
            return square_root_of(expr.operand)
        return expr

    return rewrite(kernel, rule)
