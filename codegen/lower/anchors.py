"""Which lowering makes the loops of which op; everything else is pointwise or movement."""

from collections.abc import Callable, Mapping

from lepton_cc.codegen.kernel.ir import Block
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.conv import lower_conv
from lepton_cc.codegen.lower.matmul import lower_matmul
from lepton_cc.codegen.lower.pool import lower_average_pool, lower_max_pool
from lepton_cc.codegen.lower.reduce import lower_arg_reduce, lower_reduce, lower_softmax
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.pool import AveragePool, MaxPool
from lepton_cc.ir.ops.reduce import ArgReduce, Reduce, Softmax

ANCHORS: Mapping[type[OpKind], Callable[[KernelContext], Block]] = {
    Conv: lower_conv,
    MatMul: lower_matmul,
    MaxPool: lower_max_pool,
    AveragePool: lower_average_pool,
    Reduce: lower_reduce,
    ArgReduce: lower_arg_reduce,
    Softmax: lower_softmax,
}
