"""Which lowering makes the loops of which op; everything else is pointwise or movement."""

from collections.abc import Callable, Mapping

from lepton_cc.codegen.kernel.ir import Block
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.conv import lower_conv
from lepton_cc.codegen.lower.conv_transpose import lower_conv_transpose
from lepton_cc.codegen.lower.cumulative import lower_cumulative
from lepton_cc.codegen.lower.integer_norm import lower_quantized_norm
from lepton_cc.codegen.lower.integer_scan import (
    lower_quantized_gru_scan,
    lower_quantized_lstm_scan,
)
from lepton_cc.codegen.lower.integer_softmax import lower_quantized_softmax
from lepton_cc.codegen.lower.matmul import lower_matmul
from lepton_cc.codegen.lower.normalization import lower_layer_norm, lower_rms_norm
from lepton_cc.codegen.lower.pool import lower_average_pool, lower_max_pool
from lepton_cc.codegen.lower.reduce import lower_arg_reduce, lower_reduce, lower_softmax
from lepton_cc.codegen.lower.resample import lower_resample
from lepton_cc.codegen.lower.scan import lower_gru_scan, lower_lstm_scan, lower_rnn_scan
from lepton_cc.codegen.lower.scatter import lower_scatter
from lepton_cc.codegen.lower.topk import lower_topk
from lepton_cc.codegen.lower.wide_softmax import lower_wide_softmax
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.cumulative import Cumulative
from lepton_cc.ir.ops.integer import QuantizedSoftmax
from lepton_cc.ir.ops.integer_norm import QuantizedNorm
from lepton_cc.ir.ops.integer_scan import QuantizedGruScan, QuantizedLstmScan
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.normalization import LayerNorm, RmsNorm
from lepton_cc.ir.ops.pool import AveragePool, MaxPool
from lepton_cc.ir.ops.reduce import ArgReduce, Reduce, Softmax
from lepton_cc.ir.ops.resample import Resample
from lepton_cc.ir.ops.scan import GruScan, LstmScan, RnnScan
from lepton_cc.ir.ops.scatter import Scatter
from lepton_cc.ir.ops.topk import TopK
from lepton_cc.ir.ops.wide_functions import WideSoftmax

ANCHORS: Mapping[type[OpKind], Callable[[KernelContext], Block]] = {
    Conv: lower_conv,
    ConvTranspose: lower_conv_transpose,
    MatMul: lower_matmul,
    MaxPool: lower_max_pool,
    AveragePool: lower_average_pool,
    Reduce: lower_reduce,
    ArgReduce: lower_arg_reduce,
    Softmax: lower_softmax,
    QuantizedSoftmax: lower_quantized_softmax,
    WideSoftmax: lower_wide_softmax,
    QuantizedNorm: lower_quantized_norm,
    LayerNorm: lower_layer_norm,
    RmsNorm: lower_rms_norm,
    Resample: lower_resample,
    Scatter: lower_scatter,
    TopK: lower_topk,
    Cumulative: lower_cumulative,
    RnnScan: lower_rnn_scan,
    GruScan: lower_gru_scan,
    LstmScan: lower_lstm_scan,
    QuantizedGruScan: lower_quantized_gru_scan,
    QuantizedLstmScan: lower_quantized_lstm_scan,
}
