"""Spilling: values that do not stay in the scratchpad but in the system's memory.

Whoever makes such a value stores it row by row, whoever reads it loads it row by row, each reader
for itself. A spilled value gets a new name for each of its readers, so that each has its own ring.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lepton_cc.codegen.npu.cascade import STRIPED, repeated_rows
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.layers import (
    ConvLayer,
    ElementwiseLayer,
    Layer,
    PoolLayer,
    TableLayer,
)
from lepton_cc.ir.graph import Value
from lepton_cc.passes.memory import Buffer, MemoryProblem, plan_memory

# Where spilled values lie until the whole program's memory is planned; see `bind_segment`.
SPILL_REGION = Region.STATE
_ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class Spilled:
    """Layers that read and write spilled values outside.

    inputs: new name of a spilled value -> its address; outputs: spilled value -> its address;
    num_bytes: of the memory that they take together.
    """

    layers: tuple[Layer, ...]
    inputs: Mapping[Value, Address]
    outputs: Mapping[Value, Address]
    num_bytes: int

    @property
    def values(self) -> frozenset[Value]:
        """All values that are streamed, under all names."""
        return frozenset((*self.inputs, *self.outputs))


def spillable(
    layers: Sequence[Layer], inputs: Iterable[Value], dense: frozenset[Value]
) -> frozenset[Value]:
    """The values that are made and read by rows only, inputs included."""
    unfit = {
        value
        for layer in layers
        if not isinstance(layer, STRIPED)
        for value in (*layer.inputs, layer.result)
    }
    unfit |= {value for layer in layers for value in layer.inputs if layer.inputs.count(value) > 1}
    unfit |= repeated_rows(layers)
    everything = {*inputs, *(layer.result for layer in layers)}
    return frozenset(value for value in everything if value in dense and value not in unfit)


def spill(
    layers: Sequence[Layer], values: frozenset[Value], inputs: Mapping[Value, Address]
) -> Spilled:
    """The layers with `values` spilled; values that are inputs already are only renamed."""
    made = [layer.result for layer in layers if layer.result in values]
    offsets, num_bytes = _placed(layers, made)
    addresses = {value: Address(SPILL_REGION, offsets[value.name]) for value in made}
    sources = {**{v: inputs[v] for v in values if v in inputs}, **addresses}
    names: dict[Value, Address] = {}
    changed = []
    for number, layer in enumerate(layers):
        renamed: dict[Value, Value] = {}
        for value in layer.inputs:
            if value in sources:
                renamed[value] = Value(f"{value.name}.at{number}", value.type)
                names[renamed[value]] = sources[value]
        changed.append(_with_inputs(layer, renamed) if renamed else layer)
    return Spilled(tuple(changed), names, addresses, num_bytes)


def _placed(layers: Sequence[Layer], made: Sequence[Value]) -> tuple[Mapping[str, int], int]:
    """Offsets of the spilled values in their memory; a value lives from its maker to its last."""
    buffers = []
    for value in made:
        readers = [i for i, layer in enumerate(layers) if value in layer.inputs]
        maker = next(i for i, layer in enumerate(layers) if layer.result == value)
        buffers.append(
            Buffer(
                value.name, value.type.size_bytes, maker, max(readers, default=maker), _ALIGNMENT
            )
        )
    plan = plan_memory(MemoryProblem(tuple(buffers)))
    return plan.offsets, plan.arena_bytes


def _with_inputs(layer: Layer, renamed: Mapping[Value, Value]) -> Layer:
    """The layer with other values as inputs."""

    def new(value: Value) -> Value:
        return renamed.get(value, value)

    match layer:
        case ConvLayer():
            residual = layer.residual
            if residual is not None:
                residual = dataclasses.replace(residual, value=new(residual.value))
            return dataclasses.replace(layer, x=new(layer.x), residual=residual)
        case ElementwiseLayer():
            return dataclasses.replace(layer, lhs=new(layer.lhs), rhs=new(layer.rhs))
        case PoolLayer() | TableLayer():
            return dataclasses.replace(layer, x=new(layer.x))
        case _:
            return layer
