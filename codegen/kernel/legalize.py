"""Expands what a target has no instruction for; the last step before an emitter.

The expansions are exact, so a model's results do not depend on which targets need them.
"""

from lepton_cc.codegen.kernel.expr import Expr, MulAdd, Unary, UnaryOp
from lepton_cc.codegen.kernel.integer_expr import (
    QuantizedSum,
    RoundedProduct,
    RoundedQuotient,
    Saturate,
)
from lepton_cc.codegen.kernel.ir import Kernel, expressions, walk
from lepton_cc.codegen.kernel.math.quantized_sum import (
    FusedMultiplyAdd,
    quantized_sum_float,
    quantized_sum_integer,
)
from lepton_cc.codegen.kernel.math.quotient import rounded_quotient, rounded_quotient_fused
from lepton_cc.codegen.kernel.math.requantize import (
    fused_multiply_add,
    rounded_product_float,
    rounded_product_integer,
)
from lepton_cc.codegen.kernel.math.rounding import rounded, square_root_of
from lepton_cc.codegen.kernel.rewrite import rewrite
from lepton_cc.codegen.kernel.saturate import saturated, saturating
from lepton_cc.codegen.kernel.types import is_float
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.target import Target

_EXPANDABLE = Unary | RoundedProduct | RoundedQuotient | QuantizedSum | Saturate
_ROUNDINGS = frozenset({UnaryOp.FLOOR, UnaryOp.CEIL, UnaryOp.TRUNC, UnaryOp.ROUND_EVEN})


def legalize(kernel: Kernel, target: Target) -> Kernel:
    """The kernel in what the target executes."""
    if target.rounding_instructions and target.float_unit and _has_expandable(kernel):
        kernel = saturating(kernel, _multiply_add(fused=target.fused_multiply_add))
    return expand(
        kernel,
        roundings=not target.rounding_instructions,
        square_roots=not target.square_root_instruction,
        fused=target.fused_multiply_add,
        floats=target.float_unit,
        saturates=True,
    )


def expand(
    kernel: Kernel,
    *,
    roundings: bool,
    square_roots: bool,
    fused: bool = False,
    floats: bool = True,
    saturates: bool = False,
) -> Kernel:
    """The kernel without requantizations; without roundings to integers, or without square roots.

    fused: a MulAdd rounds once. floats: binary32 arithmetic is cheaper than integers.
    saturates: the emitter has a form of Saturate.
    """
    fma = _multiply_add(fused=fused)

    def rule(expr: Expr) -> Expr:
        if isinstance(expr, RoundedProduct):
            expansion = rounded_product_float if floats else rounded_product_integer
            return expansion(expr.value, expr.scale, expr.low, expr.high)
        if isinstance(expr, RoundedQuotient):
            quotient = rounded_quotient_fused if fused else rounded_quotient
            return quotient(expr.value, expr.divisor, expr.low, expr.high)
        if isinstance(expr, QuantizedSum):
            by_integers = None if floats else quantized_sum_integer(expr)
            return quantized_sum_float(expr, fma) if by_integers is None else by_integers
        if isinstance(expr, Saturate) and not saturates:
            return saturated(expr)
        if not isinstance(expr, Unary) or not is_float(expr.type):
            return expr
        if roundings and expr.op in _ROUNDINGS:
            return rounded(expr.op, expr.operand)
        if square_roots and expr.op is UnaryOp.SQRT:
            return square_root_of(expr.operand)
        return expr

    return rewrite(kernel, rule) if _has_expandable(kernel) else kernel


def _multiply_add(*, fused: bool) -> FusedMultiplyAdd:
    """How lhs * rhs + addend of binary32 is rounded once."""
    if not fused:
        return fused_multiply_add
    return lambda lhs, rhs, addend: MulAdd(DType.F32, lhs, rhs, addend)


def _has_expandable(kernel: Kernel) -> bool:
    """True if some expression may have to be expanded: most kernels have none."""
    pending = [expr for statement in walk(kernel.body) for expr in expressions(statement)]
    seen: set[Expr] = set()
    while pending:
        expr = pending.pop()
        if expr in seen:
            continue
        if isinstance(expr, _EXPANDABLE):
            return True
        seen.add(expr)
        pending.extend(expr.operands())
    return False
