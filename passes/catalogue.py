"""All passes that a pipeline may name; a new pass adds one line here."""

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
from lepton_cc.passes.prepare_dot_products import PrepareDotProducts
from lepton_cc.passes.propagate_layout import PropagateLayout
from lepton_cc.passes.prune.prune_magnitude import PruneMagnitude
from lepton_cc.passes.quantize.expose_integers import ExposeIntegers
from lepton_cc.passes.quantize.insert_quantization import InsertQuantization
from lepton_cc.passes.quantize.prove_accumulators import ProveAccumulators
from lepton_cc.passes.quantize.raise_integers import RaiseIntegers
from lepton_cc.passes.recognize_activations import RecognizeActivations
from lepton_cc.passes.recognize_bias import RecognizeBias
from lepton_cc.passes.recognize_norms import RecognizeNorms
from lepton_cc.passes.recognize_one_hot import RecognizeOneHot
from lepton_cc.passes.recognize_softmax import RecognizeSoftmax
from lepton_cc.passes.registry import PassRegistry
from lepton_cc.passes.sink_reshapes import SinkReshapes

PASSES = PassRegistry()
PASSES.add(InsertQuantization)
PASSES.add(RaiseIntegers)
PASSES.add(ProveAccumulators)
PASSES.add(FoldConstants)
PASSES.add(ExposeIntegers)
PASSES.add(FoldBatchnorm)
PASSES.add(Canonicalize)
PASSES.add(EliminateCommonSubexpressions)
PASSES.add(EliminateDeadCode)
PASSES.add(PropagateLayout)
PASSES.add(SinkReshapes)
PASSES.add(RecognizeActivations)
PASSES.add(RecognizeBias)
PASSES.add(RecognizeNorms)
PASSES.add(RecognizeOneHot)
PASSES.add(RecognizeSoftmax)
PASSES.add(FoldStrides)
PASSES.add(FuseDequantizedWeights)
PASSES.add(FuseActivations)
PASSES.add(FuseReductions)
PASSES.add(FuseElementwise)
PASSES.add(LowerRecurrent)
PASSES.add(PrepareDotProducts)
PASSES.add(PruneMagnitude)
