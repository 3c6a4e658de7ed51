"""The program: an ordered list of kernel calls over buffers, between the graph and the code.

Everything that an emitter needs is here, and nothing else: kernels (each once), constants with
their place in one blob, arena buffers with their offsets, calls in order.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lepton_cc.codegen.kernel.ir import Kernel
from lepton_cc.codegen.kernel.printer import print_kernel
from lepton_cc.ir.graph import Location
from lepton_cc.ir.target import Target
from lepton_cc.ir.tensor import Tensor
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.memory import MemoryPlan
from lepton_cc.passes.quantize.expose_integers import PortScale

if TYPE_CHECKING:
    from lepton_cc.codegen.npu.engine_program import EngineProgram

CONSTANT_ALIGNMENT = 64


class Role(enum.Enum):
    """Where a buffer's bytes are."""

    INPUT = "input"
    OUTPUT = "output"
    CONSTANT = "constant"
    ARENA = "arena"


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of the model: its ONNX name, its name in C, its type.

    `scale`: what integers mean that the model's own type does not have.
    """

    name: str
    identifier: str
    type: TensorType
    scale: PortScale | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A buffer: its role, and its number (input, output) or byte offset (constant, arena)."""

    role: Role
    position: int


@dataclass(frozen=True, slots=True)
class Call:
    """One kernel call: which kernel, on which places, for which ONNX nodes.

    `operation` is what the graph called it, `num_macs` its multiply-adds, `result_argument` the
    position of its (first) result among the arguments. `segment`: the call runs that segment of
    the tensor engine, and no kernel.
    """

    kernel: str
    arguments: tuple[Place, ...]
    operation: str
    result: str
    result_type: TensorType
    location: Location
    num_macs: int = 0
    result_argument: int = 0
    segment: int | None = None


@dataclass(frozen=True, slots=True)
class KernelFunction:
    """A kernel of the program, and the parameters whose storage may be that of another one."""

    kernel: Kernel
    aliased: frozenset[str]


@dataclass(frozen=True, slots=True)
class Program:
    """A whole model as code sees it; `constants` pairs each tensor with its offset in the blob."""

    name: str
    target: Target
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    kernels: tuple[KernelFunction, ...]
    calls: tuple[Call, ...]
    constants: tuple[tuple[Tensor, int], ...]
    constants_bytes: int
    plan: MemoryPlan
    engine: "EngineProgram | None" = None

    @property
    def arena_bytes(self) -> int:
        """Bytes of the arena that the caller gives."""
        return self.plan.arena_bytes

    def constants_blob(self) -> bytes:
        """All constants at their offsets, zeros between."""
        blob = bytearray(self.constants_bytes)
        for tensor, offset in self.constants:
            content = tensor.array.tobytes()
            blob[offset : offset + len(content)] = content
        return bytes(blob)

    def kernels_by_name(self) -> Mapping[str, KernelFunction]:
        """Kernel name -> kernel."""
        return {function.kernel.name: function for function in self.kernels}


def print_program(program: Program) -> str:
    """The program as text: ports, calls in order, then every kernel."""
    lines = [f"program {program.name} for {program.target.name} {{"]
    for word, ports in (("input", program.inputs), ("output", program.outputs)):
        lines += [f"  {word} {port.identifier}: {port.type}" for port in ports]
    lines += [f"  constants {program.constants_bytes} bytes, arena {program.arena_bytes} bytes"]
    for call in program.calls:
        places = ", ".join(f"{p.role.value}+{p.position}" for p in call.arguments)
        callee = call.kernel if call.segment is None else f"engine segment {call.segment}"
        lines.append(f"  {callee}({places})  // {call.operation} {call.location}")
    kernels = [print_kernel(function.kernel) for function in program.kernels]
    return "\n".join([*lines, "}", "", *kernels])
