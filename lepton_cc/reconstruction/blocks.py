"""Block-wise reconstruction: each block of a compressed graph learns to give the original's values.

Nothing is labelled. A block ends where all paths meet, a residual block after its sum, so that its
layers make up for each other through their activations, as no layer alone can (Li et al., BRECQ,
2021, section 3.2, without its rounding). Blocks come in order, on what those before them became.
"""

from dataclasses import dataclass, field

import numpy as np

from lepton_cc.calibration.data import CalibrationData
from lepton_cc.calibration.float_run import inner_run
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.contraction_weights import with_constants
from lepton_cc.passes.reconstruct.block import Block, blocks
from lepton_cc.passes.reconstruct.descend import Descent, fit_block
from lepton_cc.reconstruction.layers import FittedLayer, Reconstruction, targets

# Of a block's inputs and targets: samples are left out, evenly, if there are more.
_MAX_BYTES = 96 << 20
_FEWEST_SAMPLES = 16


@dataclass(frozen=True, slots=True)
class BlockOptions:
    """What blocks are, and how they are fitted: at least `fewest_layers` contractions in each."""

    fewest_layers: int = 2
    descent: Descent = field(default_factory=Descent)


def reconstruct_blocks(
    original: Graph, compressed: Graph, data: CalibrationData, options: BlockOptions
) -> Reconstruction:
    """Fits the weights and biases of all blocks whose ops can be differentiated.

    Both graphs are prepared float graphs with one input; blocks end at values of the same name and
    type in both. Weights that are zero stay zero. A block that held-out samples find no better
    stays as it was. Records are named after the values at which blocks end.
    """
    wanted = targets(original, compressed)
    graph, records = compressed, []
    names = [block.exit.name for block in blocks(compressed, wanted, options.fewest_layers)]
    for number, name in enumerate(names):
        block = blocks(graph, wanted, options.fewest_layers)[number]
        reason = block.refusal or _too_large(block, data)
        if reason:
            records.append(FittedLayer(name, None, None, reason))
            continue
        x, y = _samples(graph, original, block, wanted[name], data)
        fit = fit_block(block, x, y, options.descent)
        graph = with_constants(graph, fit.arrays)
        records.append(FittedLayer(name, fit.error_before, fit.error))
    return Reconstruction(graph, tuple(records))


def _too_large(block: Block, data: CalibrationData) -> str:
    if data.num_samples < 2:
        return "one sample is not enough to learn from"
    if block.entry.type.dtype.numpy != np.float32:
        return "its input is not f32"
    size = block.entry.type.size_bytes + block.exit.type.size_bytes
    return "its samples would take too much memory" if size * _FEWEST_SAMPLES > _MAX_BYTES else ""


def _samples(
    graph: Graph, original: Graph, block: Block, target: Value, data: CalibrationData
) -> tuple[Array, Array]:
    """What a block reads, and what it should give: samples along the first dimension."""
    size = block.entry.type.size_bytes + block.exit.type.size_bytes
    every = -(-data.num_samples * size // _MAX_BYTES)
    given, wanted = inner_run(graph, [block.entry]), inner_run(original, [target])
    pairs = [
        (given(sample)[block.entry.name], wanted(sample)[target.name])
        for number, sample in enumerate(data.samples())
        if number % every == 0
    ]
    return _stacked(pairs, 0), _stacked(pairs, 1)


def _stacked(pairs: list[tuple[Array, Array]], place: int) -> Array:
    return np.concatenate([pair[place] for pair in pairs])
