"""The C interface of the emulator (`runtime_c/npu/emulator/emulator.h`, `host.h`) for ctypes."""

import ctypes
import functools

from lepton_cc.codegen.npu.isa.registers import Capability
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.npu.library import load_library

_MAX_MODES = 16
_U32 = ctypes.c_uint32
_U64 = ctypes.c_uint64


class Mode(ctypes.Structure):
    """lpt_array_mode and lpt_depthwise_mode: five numbers each."""

    _fields_ = [(f"number{i}", _U32) for i in range(5)]


class Config(ctypes.Structure):
    """lpt_config."""

    _fields_ = [
        *(
            (name, _U32)
            for name in (
                "macs", "lanes", "spm_bytes", "wbuf_bytes", "accumulators", "line_buffer_bytes",
                "decoder_weights", "capabilities", "setup_cycles",
                "prefix_divisor", "spm_rate", "constants_in_spm",
                "constants_rate", "constants_latency", "system_rate", "system_latency",
                "requantize", "add", "mul", "table", "fused_add", "fused_table",
                "num_modes", "num_depthwise_modes",
            )
        ),
        ("modes", Mode * _MAX_MODES),
        ("depthwise_modes", Mode * _MAX_MODES),
    ]  # fmt: skip


class Port(ctypes.Structure):
    """lpt_port."""

    _fields_ = [("rate", _U32), ("latency", _U32)]


class Cycles(ctypes.Structure):
    """lpt_cycles; fields as in `PacketCycles`."""

    _fields_ = [
        (name, _U64)
        for name in (
            "setup", "array", "epilogue", "scratchpad", "weights", "transfer", "macs", "outputs",
            "scratchpad_bytes", "weights_decoded",
        )
    ]  # fmt: skip


class Retired(ctypes.Structure):
    """lpt_retired."""

    _fields_ = [
        ("pc", _U32),
        ("opcode", _U32),
        ("sequence", _U32),
        ("layer", _U32),
        ("begin", _U64),
        ("completion", _U64),
        ("cycles", Cycles),
    ]


READ = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, _U32, ctypes.c_void_p, _U32)
WRITE = READ


class Bus(ctypes.Structure):
    """lpt_bus."""

    _fields_ = [("context", ctypes.c_void_p), ("read", READ), ("write", WRITE)]


class Hooks(ctypes.Structure):
    """lpt_hooks."""

    _fields_ = [("context", ctypes.c_void_p), ("retired", ctypes.c_void_p)]


class Window(ctypes.Structure):
    """lpt_window."""

    _fields_ = [
        ("bytes", ctypes.c_void_p),
        ("base", _U32),
        ("size_bytes", _U32),
        ("writable", _U32),
    ]


class HostMemory(ctypes.Structure):
    """lpt_host_memory."""

    _fields_ = [("windows", ctypes.POINTER(Window)), ("num_windows", _U32)]


class Log(ctypes.Structure):
    """lpt_log."""

    _fields_ = [("records", ctypes.POINTER(Retired)), ("capacity", _U32), ("count", _U32)]


@functools.cache
def emulator_library() -> ctypes.CDLL:
    """The library, its functions declared.

    Raises:
        ToolchainError: it cannot be built.
    """
    library = load_library()
    void, u32 = ctypes.c_void_p, _U32
    signatures = {
        "lpt_config_native": (ctypes.c_int32, [ctypes.POINTER(Config), u32, Port, Port]),
        "lpt_emulator_bytes": (ctypes.c_size_t, [ctypes.POINTER(Config)]),
        "lpt_emulator_create": (
            void,
            [void, ctypes.c_size_t, ctypes.POINTER(Config), ctypes.POINTER(Bus)],
        ),
        "lpt_emulator_set_hooks": (None, [void, ctypes.POINTER(Hooks)]),
        "lpt_emulator_load": (u32, [void, u32]),
        "lpt_emulator_store": (None, [void, u32, u32]),
        "lpt_emulator_advance": (u32, [void, _U64]),
        "lpt_emulator_interrupt": (u32, [void]),
        "lpt_emulator_scratchpad": (void, [void]),
        "lpt_emulator_weight_buffer": (void, [void]),
        "lpt_packet_cycles": (
            ctypes.c_int32,
            [ctypes.POINTER(Config), ctypes.POINTER(u32), ctypes.POINTER(Cycles)],
        ),
        "lpt_crc32c": (u32, [u32, void, ctypes.c_size_t]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def capabilities_of(machine: Machine) -> Capability:
    """Everything that the specification has, but what the profile leaves out."""
    everything = Capability(sum(Capability))
    return everything if machine.separable else everything & ~Capability.SEPARABLE


def config_of(machine: Machine, capabilities: Capability | None = None) -> Config:
    """The machine as the emulator takes it."""
    chip, system, costs = machine.member, machine.system, machine.costs
    config = Config(
        chip.macs, chip.lanes, chip.spm_bytes, chip.wbuf_bytes, chip.accumulators,
        chip.line_buffer_bytes, chip.decoder_weights,
        capabilities_of(machine) if capabilities is None else capabilities,
        machine.setup_cycles, machine.prefix_divisor, machine.spm_rate, system.shared,
        system.constants.rate, system.constants.latency, system.system.rate, system.system.latency,
        costs.requantize, costs.add, costs.mul, costs.table, costs.fused_add, costs.fused_table,
        len(chip.modes), len(chip.depthwise_modes),
    )  # fmt: skip
    for i, mode in enumerate(chip.modes):
        config.modes[i] = Mode(mode.rows, mode.columns, mode.outputs, mode.depth, mode.reduction)
    for i, shape in enumerate(chip.depthwise_modes):
        config.depthwise_modes[i] = Mode(
            shape.rows, shape.columns, shape.channels, shape.taps, shape.cycles
        )
    return config
