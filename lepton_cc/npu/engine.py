"""The emulated engine with memories of this process: streams in, faults, counters and bytes out."""

import ctypes
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lepton_cc.codegen.npu.isa.faults import Fault
from lepton_cc.codegen.npu.isa.regions import INTERNAL, NUM_REGIONS, OFFSET_BITS, WRITABLE, Region
from lepton_cc.codegen.npu.isa.registers import (
    REGISTERS,
    Capability,
    Control,
    Counter,
    Interrupt,
    RegionAttribute,
    Status,
)
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.npu import abi
from lepton_cc.npu.emulator import Emulator
from lepton_cc.npu.packet_log import PacketLog
from lepton_cc.npu.results import EngineCounters, EngineFault, EngineRun

_OFFSETS = {register.name: register.offset for register in REGISTERS}
_STRIDES = {register.name: register.stride for register in REGISTERS}
_FOREVER = (1 << 64) - 1
_MIN_PACKET_BYTES = 16


class Engine:
    """An engine and the memories that its regions stand for.

        engine = Engine(native(256, system), {Region.CONSTANTS: weights, Region.OUTPUT0: result})
        run = engine.run(stream)          # bytes of `encode_stream`
        assert run.fault is None, run.fault

    Memories are shared, not copied: what the stream writes is in the array afterwards. SPM and WBUF
    keep their bytes from run to run, and are 0 after a fault's reset.
    """

    def __init__(
        self,
        machine: Machine,
        memories: Mapping[Region, ArrayLike] | None = None,
        *,
        capabilities: Capability | None = None,
    ) -> None:
        """Powers the engine up and binds `memories`, as `bind` does.

        `capabilities` replaces those of the machine.

        Raises:
            ToolchainError: the emulator cannot be built on this machine.
            ValueError: the machine is impossible, or a memory cannot be bound.
        """
        library = abi.emulator_library()
        self._windows = (abi.Window * NUM_REGIONS)()
        self._host_memory = abi.HostMemory(self._windows, NUM_REGIONS)
        bus = abi.Bus(
            ctypes.addressof(self._host_memory),
            abi.READ(("lpt_host_read", library)),
            abi.WRITE(("lpt_host_write", library)),
        )
        self._emulator = Emulator(machine, bus, capabilities=capabilities)
        self._bound: dict[Region, NDArray[np.uint8]] = {}
        for region, memory in (memories or {}).items():
            self.bind(region, memory)

    def bind(self, region: Region, memory: ArrayLike, *, writable: bool | None = None) -> None:
        """Lets a region stand for a memory: a contiguous array, a bytearray, or read-only bytes.

        The stream may write to it if `writable`; by default if the region is one that streams
        write to, and the memory is not read-only.

        Raises:
            ValueError: SPM or WBUF, a memory that is not contiguous, larger than an address can
                reach, or read-only and `writable`.
        """
        if region in INTERNAL:
            raise ValueError(f"{region.name} is inside the engine")
        raw = memory if isinstance(memory, np.ndarray) else np.frombuffer(memory, np.uint8)  # type: ignore[call-overload]  # any buffer
        if not raw.flags.c_contiguous or raw.nbytes > 1 << OFFSET_BITS:
            raise ValueError(f"memory of {region.name} is not contiguous, or too large")
        content: NDArray[np.uint8] = raw.reshape(-1).view(np.uint8)
        if writable is None:
            writable = region in WRITABLE and bool(content.flags.writeable)
        if writable and not content.flags.writeable:
            raise ValueError(f"memory of {region.name} is read-only")
        base = region << OFFSET_BITS
        self._bound[region] = content  # kept alive: the window is a bare pointer
        self._windows[region] = abi.Window(content.ctypes.data, base, content.nbytes, writable)
        attributes = RegionAttribute.READ | (RegionAttribute.WRITE if writable else 0)
        self.store("REGION_BASE", base, index=region)
        self.store("REGION_SIZE", content.nbytes, index=region)
        self.store("REGION_ATTR", attributes, index=region)

    def run(self, stream: bytes, *, watchdog: int = 0, record: bool = False) -> EngineRun:
        """Runs a stream from its CHECK to END or to a fault.

        A run that goes on is halted before; an engine that stands in FAULT is reset, which clears
        SPM and WBUF. `watchdog` is
        in cycles, 0 for the default of 2^30. `record` fills `packets` of the result.
        """
        self.store("CTRL", Control.HALT)
        if self.status is Status.FAULT:
            self.reset()
        self.bind(Region.STREAM, stream)
        capacity = len(stream) // _MIN_PACKET_BYTES if record else 0
        log = PacketLog(capacity)
        self._emulator.log_to(log.log if record else None)
        self.store("IRQ_CLEAR", Interrupt.DONE | Interrupt.USER | Interrupt.TRACE_FULL)
        self.start(len(stream), watchdog=watchdog)
        self.advance(_FOREVER)
        self._emulator.log_to(None)
        return EngineRun(
            status=self.status,
            fault=self.fault,
            counters=self.counters,
            interrupts=Interrupt(self.load("IRQ_RAW")),
            packets=log.packets,
        )

    def start(self, stream_bytes: int, *, begin: int = 0, watchdog: int = 0) -> None:
        """Begins a run of what is bound to STREAM, from the byte `begin` on; see `advance`."""
        self.store("QBASE", begin)
        self.store("QSIZE", stream_bytes)
        self.store("WDOG", watchdog)
        self.store("CTRL", Control.RUN)

    def advance(self, cycles: int) -> Status:
        """Lets so many cycles of a run pass, or what is left of it."""
        return self._emulator.advance(cycles)

    def reset(self) -> None:
        """SOFT_RESET."""
        self.store("CTRL", Control.SOFT_RESET)

    def load(self, register: str, *, index: int = 0, high: bool = False) -> int:
        """Reads a register by its name in `REGISTERS`; `high`: the word behind it."""
        offset = _OFFSETS[register] + index * _STRIDES[register] + (4 if high else 0)
        return self._emulator.load(offset)

    def store(self, register: str, value: int, *, index: int = 0) -> None:
        """Writes a register by its name in `REGISTERS`."""
        offset = _OFFSETS[register] + index * _STRIDES[register]
        self._emulator.store(offset, value)

    @property
    def status(self) -> Status:
        """Bits 1:0 of STATUS."""
        return Status(self.load("STATUS") & 3)

    @property
    def fault(self) -> EngineFault | None:
        """The fault that the engine stands in."""
        code = Fault(self.load("FAULT_CODE"))
        if code is Fault.NONE:
            return None
        info = self.load("FAULT_INFO")
        return EngineFault(
            code, self.load("FAULT_PC"), info >> 16, info & 0xFFFF, self.load("FAULT_ADDR")
        )

    @property
    def counters(self) -> EngineCounters:
        """All counters, since RUN."""
        return EngineCounters(
            *(
                self.load("PMU_COUNT", index=counter)
                | self.load("PMU_COUNT", index=counter, high=True) << 32
                for counter in Counter
            )
        )

    @property
    def scratchpad(self) -> NDArray[np.uint8]:
        """SPM as it stands, shared and writable; no host of real hardware can see it."""
        return self._emulator.scratchpad

    @property
    def weight_buffer(self) -> NDArray[np.uint8]:
        """WBUF as it stands, shared and writable; no host of real hardware can see it."""
        return self._emulator.weight_buffer

    @property
    def interrupt(self) -> bool:
        """The level of the interrupt line: IRQ_RAW and IRQ_MASK."""
        return self._emulator.interrupt
