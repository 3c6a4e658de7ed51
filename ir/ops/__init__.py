"""All op definitions, one file a family, and the registry of their mnemonics."""

from lepton_cc.ir.op_kind import OpRegistry
from lepton_cc.ir.ops.bitcast import Bitcast
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.cumulative import Cumulative, CumulativeFunction
from lepton_cc.ir.ops.elementwise import Binary, Cast, Clamp, Select, Unary
from lepton_cc.ir.ops.fused import Fused
from lepton_cc.ir.ops.integer import (
    QuantizedAdd,
    QuantizedMul,
    QuantizedSoftmax,
    Requantize,
    Table,
)
from lepton_cc.ir.ops.integer_norm import QuantizedNorm
from lepton_cc.ir.ops.integer_scan import QuantizedGruScan, QuantizedLstmScan
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Broadcast, Concat, Gather, Pad, Reshape, Slice, Transpose
from lepton_cc.ir.ops.normalization import LayerNorm, RmsNorm
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.ops.pool import AveragePool, MaxPool
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.ops.recurrent import Gru, Lstm, Rnn
from lepton_cc.ir.ops.reduce import ArgFunction, ArgReduce, Reduce, ReduceFunction, Softmax
from lepton_cc.ir.ops.resample import Resample
from lepton_cc.ir.ops.scan import GruScan, LstmScan, RnnScan
from lepton_cc.ir.ops.scatter import Scatter
from lepton_cc.ir.ops.segment import EngineSegment
from lepton_cc.ir.ops.topk import TopK
from lepton_cc.ir.ops.wide_functions import InterpolatedTable, WideSoftmax

REGISTRY = OpRegistry()
for _definition in (
    Constant,
    Conv,
    ConvTranspose,
    MatMul,
    MaxPool,
    AveragePool,
    Softmax,
    Select,
    Clamp,
    Cast,
    Reshape,
    Transpose,
    Broadcast,
    Slice,
    Concat,
    Pad,
    Gather,
    Fused,
    EngineSegment,
    Requantize,
    QuantizedAdd,
    QuantizedMul,
    QuantizedSoftmax,
    QuantizedNorm,
    Table,
    InterpolatedTable,
    WideSoftmax,
    Bitcast,
    LayerNorm,
    RmsNorm,
    Quantize,
    Dequantize,
    Resample,
    Scatter,
    TopK,
    Rnn,
    Gru,
    Lstm,
    RnnScan,
    GruScan,
    LstmScan,
    QuantizedGruScan,
    QuantizedLstmScan,
):
    REGISTRY.add(_definition)
REGISTRY.add_variants(Unary, "function", UnaryFunction)
REGISTRY.add_variants(Binary, "function", BinaryFunction)
REGISTRY.add_variants(Reduce, "function", ReduceFunction)
REGISTRY.add_variants(ArgReduce, "function", ArgFunction)
REGISTRY.add_variants(Cumulative, "function", CumulativeFunction)
