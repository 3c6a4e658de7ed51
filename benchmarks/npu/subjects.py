"""The networks of the page as graphs with segments: imported once, compiled for many machines."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from benchmarks.int8_networks import networks
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.ops.segment import EngineSegment
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.passes.manager import PassManager

TARGET = "lepton-npu-256"
LARGE = frozenset({"mobilenet_v2", "resnet50"})


@dataclass(frozen=True, slots=True)
class Subject:
    """A quantized network: the name of its rows, and its file."""

    name: str
    path: Path


def subjects(only: str, folder: Path) -> Iterator[Subject]:
    """The networks whose name contains `only`, written to a folder."""
    for network in networks():
        name = network.name.partition(" ")[0]
        if only in name:
            path = folder / f"{name}.onnx"
            onnx.save(network.load(), path)
            yield Subject(name, path)


def segment_bodies(path: Path) -> tuple[Graph, ...]:
    """What the engine runs of a model at -O3, the same for all members of the family."""
    graph = import_model(path, dims={}, constants={})
    manager = PassManager(LEVELS[OptLevel.O3].pipeline(load_target(TARGET)))
    ops = manager.run(graph).ops
    return tuple(op.kind.body for op in ops if isinstance(op.kind, EngineSegment))
