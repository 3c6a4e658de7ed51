"""Raising: patterns of dequantize, float ops and quantize become integer ops.

The first pass of every level, because it defines what a quantized model means (docs/numerics.md).
"""

from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.graph import Graph
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.rewrite import Rule, Statistics, rewrite
from lepton_cc.passes.manager import Pass
from lepton_cc.passes.quantize.contractions import RULES as CONTRACTIONS
from lepton_cc.passes.quantize.movement import DEQUANTIZE_DOWN, QUANTIZE_UP
from lepton_cc.passes.quantize.norms import RULES as NORMS
from lepton_cc.passes.quantize.pools import RULES as POOLS
from lepton_cc.passes.quantize.recurrent import RULES as RECURRENT
from lepton_cc.passes.quantize.resampling import RULES as RESAMPLING
from lepton_cc.passes.quantize.signed import RULES as SIGNED
from lepton_cc.passes.quantize.signed_sums import RULES as SIGNED_SUMS
from lepton_cc.passes.quantize.softmax import RULES as SOFTMAX
from lepton_cc.passes.quantize.sums import RULES as SUMS
from lepton_cc.passes.quantize.tables import RULES as TABLES
from lepton_cc.passes.quantize.wide_contractions import RULES as WIDE_CONTRACTIONS
from lepton_cc.passes.quantize.wide_functions import RULES as WIDE_FUNCTIONS
from lepton_cc.passes.quantize.widening import RULES as WIDENING
from lepton_cc.passes.recognize_norms import RULES as SPELLED_OUT_NORMS

_RULES: tuple[Rule, ...] = (
    *WIDENING,
    *DEQUANTIZE_DOWN,
    *CONTRACTIONS,
    *TABLES,
    *SUMS,
    *QUANTIZE_UP,
    # After the requantizations and clamps that a chain may be.
    *WIDE_FUNCTIONS,
    *WIDE_CONTRACTIONS,
    # Sums of unsigned integers become signed where that changes none; the rest in any case.
    *SIGNED,
    *SIGNED_SUMS,
    *POOLS,
    *RESAMPLING,
    *SOFTMAX,
    *SPELLED_OUT_NORMS,
    *NORMS,
    *RECURRENT,
)


@dataclass(frozen=True, slots=True)
class RaiseIntegers(Pass):
    """Turns quantize-dequantize patterns into integer ops; unsigned activations become signed.

    Accepts any static graph in which weights are still integers under a `dequantize`. What has no
    integer form stays float between the quantizations that the model has; `float_ops` lists it.
    """

    NAME: ClassVar[str] = "raise-integers"

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        if not any(isinstance(op.kind, Quantize | Dequantize) for op in graph.ops):
            return graph
        return rewrite(graph, _RULES, statistics)
