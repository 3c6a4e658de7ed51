"""Multiply-adds of graph ops: what reports and schedules count."""

import math

from lepton_cc.ir.graph import Op
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.fused import Fused
from lepton_cc.ir.ops.integer_scan import QuantizedGruScan, QuantizedLstmScan
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.scan import GruScan, LstmScan, RnnScan
from lepton_cc.ir.ops.segment import EngineSegment


def num_macs(op: Op) -> int:
    """Multiply-adds of an op, padded taps included; 0 for what does not multiply and accumulate."""
    kind = op.kind
    if isinstance(kind, Fused | EngineSegment):
        return sum(num_macs(inner) for inner in kind.body.ops)
    if isinstance(kind, Conv):
        weights = op.inputs[1].type.dims
        return op.result.type.num_elements * math.prod(weights[:-1])
    if isinstance(kind, ConvTranspose):
        weights = op.inputs[1].type.dims
        return op.inputs[0].type.num_elements * math.prod(weights[:-2]) * weights[-1]
    if isinstance(kind, LstmScan | GruScan | RnnScan | QuantizedLstmScan | QuantizedGruScan):
        steps, batch, _ = op.inputs[0].type.dims
        return steps * batch * op.inputs[1].type.num_elements
    if isinstance(kind, MatMul):
        return op.result.type.num_elements * op.inputs[0].type.dims[-1]
    return 0
