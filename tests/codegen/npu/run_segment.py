"""Compiles a graph for the engine, runs it on the emulator and compares all that is promised."""

import dataclasses

import numpy as np

from lepton_cc.codegen.npu.constants import ConstantPool
from lepton_cc.codegen.npu.isa.regions import Region
from lepton_cc.codegen.npu.isa.registers import Counter
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.ports import port_address
from lepton_cc.codegen.npu.segment import Segment, compile_segment
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import evaluate_ops
from lepton_cc.ir.tensor import Array
from lepton_cc.npu.engine import Engine

# A slice may have eight weights for each byte of scratchpad; budgets may be much smaller than that.
_KIB = 1024
_LARGE_BYTES = 256 * _KIB


def random_inputs(body: Graph, seed: int = 0) -> tuple[Array, ...]:
    """8-bit integers of the whole range for each input."""
    rng = np.random.default_rng(seed)
    return tuple(
        rng.integers(-128, 128, value.type.dims).astype(np.int8).view(value.type.dtype.numpy)
        for value in body.inputs
    )


def assert_runs_as_interpreted(
    body: Graph, machine: Machine, inputs: tuple[Array, ...] | None = None
) -> Segment:
    """The segment, after a run that gave the interpreter's bytes in the estimated cycles.

    Its stream has no hazards: `Segment.stream` proves it. A segment that needs more scratchpad than
    the machine has runs on one that has enough.
    """
    given = random_inputs(body) if inputs is None else inputs
    expected = evaluate_ops(body, dict(zip(body.inputs, given, strict=True)))
    pool = ConstantPool()
    segment = compile_segment(body, machine, pool)
    places = [port_address(Region.INPUT0, port) for port in range(len(given))]
    goals = [port_address(Region.OUTPUT0, port) for port in range(len(expected))]
    check = segment.packets[0]
    sizes = {region: check.integer(f"region{int(region)}_bytes") for region in Region}
    for place, array in zip((*places, *goals), (*given, *expected), strict=True):
        sizes[place.region] = max(sizes[place.region], place.offset + array.nbytes)
    memory = {region: np.zeros(size, np.uint8) for region, size in sizes.items() if size}
    memory[Region.CONSTANTS] = np.frombuffer(pool.content(), np.uint8)
    for place, array in zip(places, given, strict=True):
        content = np.frombuffer(array.tobytes(), np.uint8)
        memory[place.region][place.offset : place.offset + array.nbytes] = content
    device = machine.with_spm(max(-(-segment.spm_bytes // _KIB) * _KIB, _LARGE_BYTES))
    run = Engine(device, memory).run(segment.stream())
    assert run.fault is None, run.fault
    for port, (place, array) in enumerate(zip(goals, expected, strict=True)):
        content = memory[place.region][place.offset : place.offset + array.nbytes]
        different = np.flatnonzero(content.view(array.dtype) != array.reshape(-1))
        size = f"{different.size} of {array.size}"
        assert not different.size, f"output {port}: {size}, first {different[:5]}"
    counters = [segment.timeline.counters[counter] for counter in Counter]
    assert list(dataclasses.astuple(run.counters)) == counters
    return segment
