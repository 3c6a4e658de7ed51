"""LLVM IR text -> machine code: optimization, object files, assembly, code in this process."""

import ctypes
import functools
import weakref
from dataclasses import dataclass
from typing import Self

import llvmlite.binding as llvm

from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.target import Target


@functools.cache
def _initialize() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    # LLVM 22 for riscv32 drops a product of i64 by a hoisted constant whose low word is a power of
    # two: tests/differential/test_constant_products.py.
    llvm.set_option("lepton-cc", "-disable-constant-hoisting")


def llvm_version() -> str:
    """The version of the LLVM that llvmlite carries."""
    return ".".join(map(str, llvm.llvm_version_info))


def host_features() -> frozenset[str]:
    """Names of the instruction-set features that this machine has."""
    return frozenset(name for name, there in llvm.get_host_cpu_features().items() if there)


def _machine(target: Target, speed_level: int, *, jit: bool) -> llvm.TargetMachine:
    _initialize()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=speed_level,
        reloc="pic" if jit or target.pointer_bits == 64 else "static",
        codemodel="jitdefault" if jit else target.code_model,
        jit=jit,
        abiname=target.abi,
    )


def _optimized(
    text: str, machine: llvm.TargetMachine, speed_level: int, *, small: bool
) -> llvm.ModuleRef:
    # A context of its own: symbol and type names must not depend on what was compiled before.
    context = llvm.create_context()
    try:
        module = llvm.parse_assembly(text, context)
        module.verify()
    except RuntimeError as error:
        raise InternalError(f"LLVM does not accept the generated module: {error}") from error
    # Without it, LLVM takes pointers for 64 bits wide, in arrays of pointers, too.
    module.data_layout = str(machine.target_data)
    # Kernels are vectorized and unrolled by their schedules; LLVM's own would do it twice.
    tuning = llvm.create_pipeline_tuning_options(speed_level)
    if small:
        tuning.inlining_threshold = 0
    tuning.loop_vectorization = False
    tuning.slp_vectorization = False
    tuning.loop_unrolling = False
    tuning.loop_interleaving = False
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    return module


@dataclass(frozen=True, slots=True)
class MachineCode:
    """One module compiled: the object file and, if asked for, its assembly."""

    object_bytes: bytes
    assembly: str


def compile_module(
    text: str, target: Target, speed_level: int, *, small: bool = False, assembly: bool = False
) -> MachineCode:
    """Compiles LLVM IR text for a target.

    Raises:
        InternalError: LLVM refuses the module.
    """
    machine = _machine(target, speed_level, jit=False)
    module = _optimized(text, machine, speed_level, small=small)
    # Of a copy: code generation changes the module, and the object must not depend on the listing.
    listing = machine.emit_assembly(module.clone()) if assembly else ""
    return MachineCode(machine.emit_object(module), listing)


def module_assembly(text: str, target: Target, speed_level: int, *, small: bool = False) -> str:
    """The assembly of LLVM IR text alone: the same that `compile_module` gives.

    Raises:
        InternalError: LLVM refuses the module.
    """
    machine = _machine(target, speed_level, jit=False)
    module = _optimized(text, machine, speed_level, small=small)
    return str(machine.emit_assembly(module.clone()))


class LoadedCode:
    """Machine code in this process; it lives as long as the object."""

    def __init__(self, text: str, target: Target, speed_level: int, *, small: bool = False) -> None:
        machine = _machine(target, speed_level, jit=True)
        module = _optimized(text, machine, speed_level, small=small)
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        # Held from outside until this object dies: a cycle's parts are finalized in any order, and
        # LLVM's context must not go before the engine.
        weakref.finalize(self, self._engine.close).atexit = False

    @classmethod
    def from_object(cls, content: bytes, target: Target) -> Self:
        """Loads an object file that was compiled for a native target.

        Raises:
            InternalError: the bytes are no object file.
        """
        loaded = cls("", target, 0)
        try:
            loaded._engine.add_object_file(llvm.ObjectFileRef.from_data(content))
        except RuntimeError as error:
            raise InternalError(f"LLVM does not load the object file: {error}") from error
        loaded._engine.finalize_object()
        return loaded

    def address(self, symbol: str) -> int:
        """Address of a function."""
        return int(self._engine.get_function_address(symbol))

    def function(self, symbol: str, num_pointers: int) -> "ctypes._CFunctionType":
        """A function of pointers that gives nothing, callable from Python."""
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * num_pointers)
        return kind(self.address(symbol))

    def status_function(self, symbol: str, num_pointers: int) -> "ctypes._CFunctionType":
        """A function of pointers that gives a `lepton_status`, callable from Python."""
        kind = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * num_pointers)
        return kind(self.address(symbol))
