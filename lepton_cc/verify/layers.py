"""Runs a program one kernel call at a time on this machine, to look at every layer's result."""

import ctypes
from collections.abc import Callable, Mapping

import numpy as np

from lepton_cc.codegen.kernel.parallel import parallel_extent
from lepton_cc.codegen.llvm.compile import LoadedCode
from lepton_cc.codegen.llvm.module import emit_module
from lepton_cc.codegen.program import Call, Place, Program, Role
from lepton_cc.compiler import Compilation
from lepton_cc.executable import aligned_bytes
from lepton_cc.ir.graph import Value
from lepton_cc.ir.interpreter import checked_input, interpret
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import LEVELS
from lepton_cc.verify.difference import Difference, difference

LayerObserver = Callable[[int, Call, Array], None]


class LayerRunner:
    """The machine code of each kernel, called from here in the program's order."""

    def __init__(self, compilation: Compilation) -> None:
        self._program: Program = compilation.program
        text = emit_module(self._program, in_process=True, expose_kernels=True)
        level = LEVELS[compilation.options.level].llvm_level
        self._code = LoadedCode(text, self._program.target, level)
        self._weights = aligned_bytes(max(self._program.constants_bytes, 1))
        blob = np.frombuffer(self._program.constants_blob(), dtype=np.uint8)
        self._weights[: blob.size] = blob
        self._arena = aligned_bytes(max(self._program.arena_bytes, 1))

    def run(self, inputs: Mapping[str, Array], observe: LayerObserver) -> None:
        """Runs all calls; `observe` sees each call's first result (a copy)."""
        arrays = [
            np.ascontiguousarray(checked_input(Value(port.name, port.type), inputs))
            for port in self._program.inputs
        ]
        outputs = [np.zeros(p.type.dims, p.type.dtype.numpy) for p in self._program.outputs]
        bases: dict[Role, list[int]] = {
            Role.INPUT: [array.ctypes.data for array in arrays],
            Role.OUTPUT: [array.ctypes.data for array in outputs],
        }
        for number, call in enumerate(self._program.calls):
            addresses = [self._address(place, bases) for place in call.arguments]
            self._call(call, addresses)
            observe(number, call, self._result(call, addresses))

    def _address(self, place: Place, bases: Mapping[Role, list[int]]) -> int:
        if place.role in bases:
            return bases[place.role][place.position]
        memory = self._weights if place.role is Role.CONSTANT else self._arena
        return int(memory.ctypes.data) + place.position

    def _call(self, call: Call, addresses: list[int]) -> None:
        kernel = self._program.kernels_by_name()[call.kernel].kernel
        arguments = list(addresses)
        extent = parallel_extent(kernel)
        if extent is not None:
            arguments += [0, extent]
        symbol = f"{self._program.name}_{call.kernel}"
        self._code.function(symbol, len(arguments))(*arguments)

    def _result(self, call: Call, addresses: list[int]) -> Array:
        type_ = call.result_type
        content = ctypes.string_at(addresses[call.result_argument], type_.size_bytes)
        return np.frombuffer(content, dtype=type_.dtype.numpy).reshape(type_.dims)


def layer_differences(
    compilation: Compilation, inputs: Mapping[str, Array]
) -> tuple[Difference, ...]:
    """Each layer of the compiled program against the NumPy interpreter, on one sample.

    The interpreter runs the optimized graph on its own values, so that a difference shows in the
    layer where it begins and in those after it. Values that only the code has are left out.
    """
    expected: dict[str, Array] = {}
    interpret(compilation.graph, inputs, lambda value, array: expected.update({value.name: array}))
    found: list[Difference] = []

    def compare(number: int, call: Call, got: Array) -> None:
        if call.result in expected:
            name = f"{number} {call.operation} %{call.result}"
            found.append(difference(name, got, expected[call.result].reshape(got.shape)))

    LayerRunner(compilation).run(inputs, compare)
    return tuple(found)
