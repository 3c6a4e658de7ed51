"""Optimization levels on one screen: which passes run and what the schedules may do."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from lepton_cc.codegen.lower.context import ScheduleOptions
from lepton_cc.ir.target import Target
from lepton_cc.passes.canonicalize import Canonicalize
from lepton_cc.passes.eliminate_common_subexpressions import EliminateCommonSubexpressions
from lepton_cc.passes.eliminate_dead_code import EliminateDeadCode
from lepton_cc.passes.fold_batchnorm import FoldBatchnorm
from lepton_cc.passes.fold_constants import FoldConstants
from lepton_cc.passes.fold_strides import FoldStrides
from lepton_cc.passes.fuse_activations import FuseActivations
from lepton_cc.passes.fuse_dequantized_weights import FuseDequantizedWeights
from lepton_cc.passes.fuse_elementwise import FuseElementwise
from lepton_cc.passes.fuse_reductions import FuseReductions
from lepton_cc.passes.lower_recurrent import LowerRecurrent
from lepton_cc.passes.manager import Repeat, Step
from lepton_cc.passes.prepare_dot_products import PrepareDotProducts
from lepton_cc.passes.propagate_layout import PropagateLayout
from lepton_cc.passes.quantize.expose_integers import ExposeIntegers
from lepton_cc.passes.quantize.prove_accumulators import ProveAccumulators
from lepton_cc.passes.quantize.raise_integers import RaiseIntegers
from lepton_cc.passes.recognize_activations import RecognizeActivations
from lepton_cc.passes.recognize_bias import RecognizeBias
from lepton_cc.passes.recognize_norms import RecognizeNorms
from lepton_cc.passes.recognize_one_hot import RecognizeOneHot
from lepton_cc.passes.recognize_softmax import RecognizeSoftmax
from lepton_cc.passes.sink_reshapes import SinkReshapes


class OptLevel(enum.Enum):
    """-O0 to -O3 and -Os."""

    O0 = "0"
    O1 = "1"
    O2 = "2"
    O3 = "3"
    OS = "s"


@dataclass(frozen=True, slots=True)
class Level:
    """What a level means: graph passes in order, schedules, LLVM's level, ordering for memory.

    What prepares the graph for a target's instructions runs between `passes` and `fusion`.
    """

    description: str
    passes: tuple[Step, ...]
    schedule: ScheduleOptions
    llvm_level: int
    reorder: bool
    fusion: tuple[Step, ...] = ()

    def pipeline(self, target: Target, *, integer_ports: bool = False) -> tuple[Step, ...]:
        """All passes on the way to a target; `integer_ports`: see `ExposeIntegers`."""
        middle: tuple[Step, ...] = ()
        if target.engine is not None:
            # Other targets do not wait for it to be imported.
            from lepton_cc.codegen.npu.placement import PlaceOnEngine  # noqa: PLC0415

            middle = (FoldStrides(), PlaceOnEngine())
        elif self.schedule.vectorize:
            middle = (PrepareDotProducts(target.dot_product),)
        if integer_ports:
            middle = (ExposeIntegers(), EliminateDeadCode(), *middle)
        return (*self.passes, *middle, *self.fusion)


# What a quantized model means is decided here, on every level.
_INTEGERS: tuple[Step, ...] = (
    FoldConstants(),
    RaiseIntegers(),
    ProveAccumulators(),
    FoldConstants(fold_dequantize=True),
)
_SIMPLIFY = Repeat(
    (FoldConstants(), Canonicalize(), EliminateCommonSubexpressions(), EliminateDeadCode())
)
_NECESSARY: tuple[Step, ...] = (
    *_INTEGERS,
    LowerRecurrent(),
    FoldConstants(),
    EliminateDeadCode(),
)
_BASIC: tuple[Step, ...] = (*_INTEGERS, _SIMPLIFY, LowerRecurrent(), _SIMPLIFY)
_RECOGNIZE: tuple[Step, ...] = (
    # First, while transposes that move nothing are no reshapes yet.
    PropagateLayout(),
    Repeat((SinkReshapes(), _SIMPLIFY), limit=4),
    RecognizeSoftmax(),
    RecognizeNorms(),
    RecognizeOneHot(),
    RecognizeActivations(),
)
_SETTLE: tuple[Step, ...] = (
    Repeat((PropagateLayout(), SinkReshapes(), _SIMPLIFY), limit=4),
    FoldBatchnorm(),
    RecognizeBias(),
    _SIMPLIFY,
)
_FULL: tuple[Step, ...] = (*_INTEGERS, *_RECOGNIZE, LowerRecurrent(), *_SETTLE)
# What a float graph goes through before it is quantized: batch normalizations and biases are where
# they stay, activations have one form.
BEFORE_QUANTIZATION: tuple[Step, ...] = (FoldConstants(), *_RECOGNIZE, *_SETTLE)
_FUSION: tuple[Step, ...] = (
    FuseDequantizedWeights(),
    FuseActivations(),
    FuseReductions(),
    FuseElementwise(),
    EliminateDeadCode(),
)

LEVELS: Mapping[OptLevel, Level] = {
    OptLevel.O0: Level(
        "one scalar kernel for each op, in the model's order: for finding faults",
        _NECESSARY,
        ScheduleOptions(vectorize=False, tile=False, parallelize=False),
        llvm_level=0,
        reorder=False,
    ),
    OptLevel.O1: Level(
        "constants folded, graph simplified, vector code; nothing fused",
        _BASIC,
        ScheduleOptions(tile=False, parallelize=False),
        llvm_level=1,
        reorder=True,
    ),
    OptLevel.O2: Level(
        "all graph passes, register tiles",
        _FULL,
        ScheduleOptions(parallelize=False),
        llvm_level=2,
        reorder=True,
        fusion=_FUSION,
    ),
    OptLevel.O3: Level(
        "as -O2, and large kernels can be split between threads",
        _FULL,
        ScheduleOptions(),
        llvm_level=3,
        reorder=True,
        fusion=_FUSION,
    ),
    OptLevel.OS: Level(
        "as -O2 with loops kept small",
        _FULL,
        ScheduleOptions(parallelize=False, small_code=True),
        llvm_level=2,
        reorder=True,
        fusion=_FUSION,
    ),
}
