"""Activations of recurrent cells as kernel expressions."""

from collections.abc import Callable, Mapping

from lepton_cc.codegen.kernel import math as kernel_math
from lepton_cc.codegen.kernel.expr import Const, Expr, select
from lepton_cc.codegen.kernel.math.exponential import exp_minus_1
from lepton_cc.codegen.lower.pointwise import clamp
from lepton_cc.ir.ops.cell import Activation, CellFunction
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction as U


def activate(activation: Activation, x: Expr) -> Expr:
    """The activation of x, in x's type."""
    alpha, beta = Const(x.type, activation.alpha), Const(x.type, activation.beta)
    return _FUNCTIONS[activation.function](x, alpha, beta)


def _softplus(x: Expr, alpha: Expr, beta: Expr) -> Expr:
    smaller = kernel_math.unary(U.EXP, -kernel_math.unary(U.ABS, x))
    return clamp(x, 0.0, float("inf")) + kernel_math.unary(U.LOG1P, smaller)


def _elu(x: Expr, alpha: Expr, beta: Expr) -> Expr:
    return select(x >= 0.0, x, alpha * exp_minus_1(clamp(x, -float("inf"), 0.0)))


_FUNCTIONS: Mapping[CellFunction, Callable[[Expr, Expr, Expr], Expr]] = {
    CellFunction.AFFINE: lambda x, a, b: a * x + b,
    CellFunction.ELU: _elu,
    CellFunction.HARD_SIGMOID: lambda x, a, b: clamp(a * x + b, 0.0, 1.0),
    CellFunction.LEAKY_RELU: lambda x, a, b: select(x >= 0.0, x, a * x),
    CellFunction.RELU: lambda x, a, b: clamp(x, 0.0, float("inf")),
    CellFunction.SCALED_TANH: lambda x, a, b: a * kernel_math.unary(U.TANH, b * x),
    CellFunction.SIGMOID: lambda x, a, b: kernel_math.unary(U.SIGMOID, x),
    CellFunction.SOFTPLUS: _softplus,
    CellFunction.SOFTSIGN: lambda x, a, b: x / (kernel_math.unary(U.ABS, x) + 1.0),
    CellFunction.TANH: lambda x, a, b: kernel_math.unary(U.TANH, x),
    CellFunction.THRESHOLDED_RELU: lambda x, a, b: select(x >= a, x, 0.0),
}
