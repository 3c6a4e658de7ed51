"""Streams of real models: interpreter, emulator in C and semantics in NumPy give the same bytes.

And the compiler's estimate is the count of both devices, to the cycle.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from lepton_cc.codegen.npu.constants import ConstantPool
from lepton_cc.codegen.npu.isa.regions import Region
from lepton_cc.codegen.npu.isa.registers import Counter
from lepton_cc.codegen.npu.segment import Segment, compile_segment
from lepton_cc.codegen.npu.semantics.device import Device
from lepton_cc.codegen.npu.systems.loader import machine_of
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.ops.segment import EngineSegment
from lepton_cc.ir.target import Target
from lepton_cc.ir.tensor import Array
from lepton_cc.npu.engine import Engine
from tests.real_models import TINY_INT8, RealModel

MEMBERS = (64, 256)


def segments(model: RealModel, target: Target) -> Iterator[Graph]:
    """What the engine runs of a model."""
    compilation = compile_model(model.require(), CompileOptions(target))
    for op in compilation.graph.ops:
        if isinstance(op.kind, EngineSegment):
            yield op.kind.body


def memory_of(
    segment: Segment, body: Graph, constants: bytes, inputs: tuple[Array, ...]
) -> dict[Region, bytearray]:
    """The regions that a segment needs, filled."""
    check = segment.packets[0]
    memory = {
        region: bytearray(size)
        for region in Region
        if (size := check.integer(f"region{int(region)}_bytes"))
    }
    memory[Region.CONSTANTS] = bytearray(constants)
    for port, array in enumerate(inputs):
        memory[Region(Region.INPUT0 + port)] = bytearray(array.tobytes())
    for port, value in enumerate(body.outputs):
        memory[Region(Region.OUTPUT0 + port)] = bytearray(value.type.size_bytes)
    return memory


@pytest.mark.parametrize("macs", MEMBERS)
@pytest.mark.parametrize("model", TINY_INT8, ids=str)
def test_a_segment_gives_what_its_body_means(model: RealModel, macs: int) -> None:
    target = load_target(f"lepton-npu-{macs}")
    assert target.engine is not None
    machine = machine_of(target.engine)
    rng = np.random.default_rng(macs)
    bodies = list(segments(model, target))
    assert bodies
    for body in bodies:
        pool = ConstantPool()
        segment = compile_segment(body, machine, pool)
        inputs = tuple(
            rng.integers(-128, 128, value.type.dims).astype(value.type.dtype.numpy)
            for value in body.inputs
        )
        expected = EngineSegment(body).evaluate(inputs)
        for runs in (Device, Engine):
            memory = memory_of(segment, body, pool.content(), inputs)
            result = runs(machine, memory).run(segment.stream())
            assert result.fault is None
            for port, array in enumerate(expected):
                found = bytes(memory[Region(Region.OUTPUT0 + port)])
                assert found == array.tobytes(), f"{runs.__name__}, output {port}"
            assert counters_of(result.counters) == dict(segment.timeline.counters)


def counters_of(counters: object) -> dict[Counter, int]:
    """Both devices' counters in one form."""
    if isinstance(counters, Mapping):
        return dict(counters)
    return {counter: getattr(counters, counter.name.lower()) for counter in Counter}
