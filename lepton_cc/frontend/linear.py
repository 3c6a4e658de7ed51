"""ONNX MatMul, Gemm and BatchNormalization."""

from collections.abc import Sequence

from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction as B
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction as U


def matmul(node: NodeView, lhs: Value, rhs: Value, kind: MatMul | None = None) -> Value:
    """NumPy's matmul: a vector is a row on the left, a column on the right."""
    if lhs.type.rank == 0 or rhs.type.rank == 0:
        node.refuse(f"cannot multiply {lhs.type} by {rhs.type}", code=Code.TYPE_MISMATCH)
    row, column = lhs.type.rank == 1, rhs.type.rank == 1
    left = node.reshape(lhs, (1, *lhs.type.dims)) if row else lhs
    right = node.reshape(rhs, (*rhs.type.dims, 1)) if column else rhs
    y = node.emit(kind or MatMul(), left, right)
    dims = y.type.dims
    kept = (*dims[:-2], *(() if row else dims[-2:-1]), *(() if column else dims[-1:]))
    return node.reshape(y, kept)


def import_matmul(node: NodeView) -> Sequence[Value | None]:
    """MatMul with broadcasting batches; vectors too."""
    return (matmul(node, node.operand(0), node.operand(1)),)


def _scaled(node: NodeView, x: Value, factor: float, name: str) -> Value:
    if factor == 1:
        return x
    if not x.type.dtype.is_float and not factor.is_integer():
        node.refuse(f"{name} is {factor} for integers")
    return node.binary(B.MUL, x, factor)


def import_gemm(node: NodeView) -> Sequence[Value | None]:
    """Gemm: alpha A B + beta C, each of A and B transposed or not, C broadcast."""
    a, b, c = node.operand(0), node.operand(1), node.optional(2)
    if a.type.rank != 2 or b.type.rank != 2:
        node.refuse(f"{a.type} and {b.type} must be matrices", code=Code.TYPE_MISMATCH)
    a = node.transpose(a, (1, 0)) if node.flag("transA") else a
    b = node.transpose(b, (1, 0)) if node.flag("transB") else b
    b = node.folded(_scaled(node, b, node.float("alpha", 1.0), "alpha"))
    beta = node.float("beta", 1.0)
    if c is None or beta == 0:
        return (node.emit(MatMul(), a, b),)
    c = node.folded(_scaled(node, c, beta, "beta"))
    rows, columns = a.type.shape[0], b.type.dims[1]
    if c.type.shape in ((columns,), (1, columns)):
        return (node.emit(MatMul(), a, b, node.folded(node.reshape(c, (columns,)))),)
    y = node.binary(B.ADD, node.emit(MatMul(), a, b), c)
    if y.type.shape != (rows, columns):
        node.refuse(f"C {c.type} does not broadcast to {y.type}", code=Code.TYPE_MISMATCH)
    return (y,)


def import_batch_normalization(node: NodeView) -> Sequence[Value | None]:
    """BatchNormalization for inference: x a + b with a = scale / sqrt(var + epsilon)."""
    if node.flag("training_mode") or any(node.output_used(index) for index in range(1, 5)):
        node.refuse("training mode is not supported", "export the model for inference")
    x = node.operand(0)
    dtype = x.type.dtype
    spatial = node.opset >= 9 or node.flag("spatial", True)
    trailing = (1,) * (x.type.rank - 2) if spatial else ()
    expected = x.type.dims[1:2] if spatial else x.type.dims[1:]
    parameters = [node.operand(index) for index in range(1, 5)]
    for parameter in parameters:
        if x.type.rank < 2 or parameter.type.shape != expected:
            node.refuse(f"parameter {parameter.type} for {x.type}", code=Code.TYPE_MISMATCH)
    wide = parameters[3].type.dtype
    scale, bias, mean, variance = (node.cast(parameter, wide) for parameter in parameters)
    shifted = node.binary(B.ADD, variance, node.float("epsilon", 1e-5))
    factor = node.binary(B.DIV, scale, node.unary(U.SQRT, shifted))
    offset = node.binary(B.SUB, bias, node.binary(B.MUL, mean, factor))
    factor, offset = (
        node.folded(node.cast(node.reshape(v, (*expected, *trailing)), dtype))
        for v in (factor, offset)
    )
    y = node.binary(B.ADD, node.binary(B.MUL, x, factor), offset)
    return (y, *(None for _ in range(1, node.num_outputs)))


OPERATORS = (
    Operator("", "MatMul", 1, import_matmul),
    Operator("", "Gemm", 7, import_gemm),
    Operator("", "BatchNormalization", 7, import_batch_normalization),
)
