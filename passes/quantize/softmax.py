"""Softmax of a dequantized tensor: exponentials from a table, one fixed order of sums."""

import numpy as np

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Op
from lepton_cc.ir.ops.integer import QuantizedSoftmax
from lepton_cc.ir.ops.quantization import Quantize
from lepton_cc.ir.ops.reduce import Softmax
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, rule
from lepton_cc.ir.tensor import Tensor
from lepton_cc.passes.quantize.parameters import narrow, quantized


def exponentials(scale: np.float32) -> Tensor:
    """f32(exp(-d * scale)) for the distances d = 0..255 to the largest element."""
    return Tensor(np.exp(-np.arange(256) * np.float64(scale)).astype(np.float32))


@rule("quantize(softmax(dequantize(x))) = quantized_softmax(x)", Quantize)
def softmax(op: Op, rewriter: Rewriter) -> Replacement:
    by = quantized(rewriter, op)
    matched = None if by is None else rewriter.match(by.real, Softmax)
    if by is None or matched is None:
        return None
    kind, softmax_op = matched
    found = narrow(rewriter, softmax_op.operands[0])
    if found is None or kind.log or found.x.type.dtype is not DType.I8:
        return None
    if by.range.dtype.bits > 8 or found.x.type.num_elements == 0:
        return None
    table = exponentials(found.scale)
    quantized_kind = QuantizedSoftmax(kind.axis, float(by.scale), by.range, table)
    return (rewriter.emit(quantized_kind, found.x),)


RULES: tuple[Rule, ...] = (softmax,)
