"""Measures how far the interpreter's integer ops are from ONNX Runtime: the table of docs/numerics.

    python -m benchmarks.compare_onnxruntime [--draws N] [--only NAME]

Every operator runs with many random scales and zero points, of int8 and of uint8 activations, in
three ways: as QLinear operator, as QDQ graph that ONNX Runtime fuses (int8 allowed), and as the
same graph unfused, all optimization off.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from benchmarks.quantized_operators import CASES, Array, Case
from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.interpreter import interpret
from lepton_cc.passes.fold_constants import FoldConstants
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.quantize.prove_accumulators import ProveAccumulators
from lepton_cc.passes.quantize.raise_integers import RaiseIntegers

# What is left in a graph that ONNX Runtime did not fuse.
_UNFUSED = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(slots=True)
class Distance:
    """Outputs compared, outputs that differ, and the largest difference in LSB."""

    outputs: int = 0
    differing: int = 0
    largest: int = 0

    def add(self, ours: Array, theirs: Array) -> None:
        """Takes in one run's outputs."""
        difference = np.abs(ours.astype(np.int64) - theirs.astype(np.int64))
        self.outputs += difference.size
        self.differing += int(np.count_nonzero(difference))
        self.largest = max(self.largest, int(difference.max(initial=0)))

    def __str__(self) -> str:
        if not self.outputs:
            return "-"
        if not self.differing:
            return f"0 of {self.outputs / 1e6:.2f} M"
        share = self.differing / self.outputs * 1e6
        return f"{share:.1f} ppm of {self.outputs / 1e6:.2f} M, at most {self.largest}"


def ours(case: Case) -> Array:
    """What the interpreter gives for the raised QDQ graph, which must be free of floats."""
    passes = (FoldConstants(), RaiseIntegers(), ProveAccumulators())
    graph = PassManager(passes).run(import_model(case.qdq))
    if any(op.kind.mnemonic in ("quantize", "dequantize") for op in graph.ops):
        raise SystemExit("the graph was not raised")
    return interpret(graph, case.feeds)["y"]


def _session(model: onnx.ModelProto, optimized: str = "") -> onnxruntime.InferenceSession:
    """A session without optimization, or an optimized one that writes its graph to a path."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if optimized:
        options.add_session_config_entry("session.qdqisint8allowed", "1")
        options.optimized_model_filepath = optimized
    else:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def theirs(case: Case) -> tuple[Array | None, Array | None, Array]:
    """ONNX Runtime's QLinear operator, fused graph, unfused graph; None where it has none."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "optimized.onnx")
        session = _session(case.qdq, path)
        kinds = {node.op_type for node in onnx.load(path).graph.node}
        fused = None if kinds & _UNFUSED else np.asarray(session.run(None, case.feeds)[0])
    unfused = np.asarray(_session(case.qdq).run(None, case.feeds)[0])
    if case.qlinear is None:
        return None, fused, unfused
    return np.asarray(_session(case.qlinear).run(None, case.feeds)[0]), fused, unfused


def measure(name: str, draws: int) -> tuple[Distance, Distance, Distance]:
    """Distances to the QLinear operator, the fused and the unfused graph."""
    distances = (Distance(), Distance(), Distance())
    rng = np.random.default_rng(sum(map(ord, name)))
    for draw in range(draws):
        case = CASES[name](rng, np.int8 if draw % 2 else np.uint8)
        y = ours(case)
        for distance, reference in zip(distances, theirs(case), strict=True):
            if reference is not None:
                distance.add(y, reference)
    return distances


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table, one row an operator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=40, help="random draws for each operator")
    parser.add_argument("--only", default="", help="operators whose name begins like this")
    options = parser.parse_args(arguments)
    print("| operator | QLinear operator | fused QDQ | unfused QDQ |\n|---|---|---|---|")
    for name in CASES:
        if name.startswith(options.only):
            row = " | ".join(str(distance) for distance in measure(name, options.draws))
            print(f"| {name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
