"""The control core on the host: inputs in, outputs and an exact instruction count out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lepton_cc.emulator.devices import MappedDevice
from lepton_cc.emulator.image import Image, Port, read_image
from lepton_cc.emulator.session import GARBAGE, Session
from lepton_cc.ir.diagnostics import Code, Diagnostic, Refused

DEFAULT_INSTRUCTION_LIMIT = 20_000_000_000


@dataclass(frozen=True, slots=True)
class EmulatedRun:
    """What one run gave.

    `instructions` are those of the model's function and all it calls, from its first to its
    return; `instructions_by_function` splits them by symbol, largest first (a block that control
    enters in one function and leaves in the next counts for the first).
    `stack_high_water_bytes` is the stack that the function touched below its caller's.
    `seconds` is the host's time for the whole run, boot included.
    """

    outputs: Mapping[str, bytes]
    instructions: int
    instructions_by_function: Mapping[str, int]
    stack_high_water_bytes: int
    console: str
    seconds: float


class ControlCore:
    """Firmware image on an emulated rv32 core; each run starts from reset."""

    def __init__(
        self,
        elf: Path,
        *,
        instruction_limit: int = DEFAULT_INSTRUCTION_LIMIT,
        devices: Sequence[MappedDevice] = (),
    ) -> None:
        """Reads the image.

        Raises:
            Refused: `elf` is no image for the control core.
        """
        self._image = read_image(elf)
        self._instruction_limit = instruction_limit
        self._devices = tuple(devices)

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The model's inputs in the order of the generated struct."""
        return self._image.inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The model's outputs in the order of the generated struct."""
        return self._image.outputs

    def run(self, inputs: Mapping[str, bytes]) -> EmulatedRun:
        """Runs the model once on `inputs`, raw little-endian bytes by input name.

        Raises:
            Refused: an input is missing, unknown or of the wrong size; the core trapped, left
                its memory or passed the instruction limit; the model returned an error, changed
                an input or wrote outside its buffers.
        """
        _check_inputs(self._image.inputs, inputs)
        session = Session(self._image, self._devices, instruction_limit=self._instruction_limit)
        for port in self._image.inputs:
            session.write(port.address, inputs[port.name])
        session.execute()
        _check_buffers(self._image, session, inputs)
        measured = session.measured
        return EmulatedRun(
            outputs={
                port.name: session.read(port.address, port.size_bytes)
                for port in self._image.outputs
            },
            instructions=measured.retired,
            instructions_by_function=_by_function(self._image, measured.by_halfword),
            stack_high_water_bytes=session.stack_high_water_bytes(),
            console=session.console,
            seconds=session.seconds,
        )


def _check_inputs(ports: tuple[Port, ...], inputs: Mapping[str, bytes]) -> None:
    known = {port.name: port for port in ports}
    complaints = [
        f"there is no input {name!r}; the model has {', '.join(known) or 'none'}"
        for name in inputs
        if name not in known
    ]
    for port in ports:
        if port.name not in inputs:
            complaints.append(f"input {port.name!r} is missing")
        elif len(inputs[port.name]) != port.size_bytes:
            complaints.append(
                f"input {port.name!r} takes {port.size_bytes} bytes, "
                f"{len(inputs[port.name])} were given"
            )
    if complaints:
        raise Refused(Diagnostic(Code.BAD_INPUT_DATA, complaint) for complaint in complaints)


def _check_buffers(image: Image, session: Session, inputs: Mapping[str, bytes]) -> None:
    """Raises if the run has changed an input, or bytes between the buffers."""
    for port in image.inputs:
        if session.read(port.address, port.size_bytes) != inputs[port.name]:
            raise session.fault(f"the model changed its input {port.name!r}")
    region = image.unzeroed
    changed = np.frombuffer(session.read(region.begin, region.size_bytes), np.uint8) != GARBAGE
    buffers = [port for port in (*image.inputs, *image.outputs, image.arena) if port.size_bytes]
    for port in buffers:
        offset = port.address - region.begin
        changed[offset : offset + port.size_bytes] = False
    if changed.any():
        address = region.begin + int(np.argmax(changed))
        before = [port for port in buffers if port.address <= address]
        nearest = max(before, key=lambda port: port.address, default=image.arena)
        raise session.fault(
            f"the model wrote to {address:#010x}, "
            f"{address - nearest.address} bytes into {nearest.name!r} of {nearest.size_bytes}"
        )


def _by_function(image: Image, by_halfword: NDArray[np.uint64]) -> Mapping[str, int]:
    counted = np.flatnonzero(by_halfword)
    begins = np.array([function.begin for function in image.functions], np.int64)
    owners = np.searchsorted(begins, image.text.address + 2 * counted, side="right")
    # Slot 0 takes code before the first function; code behind a function's end counts for it.
    totals = np.zeros(len(begins) + 1, np.uint64)
    np.add.at(totals, owners, by_halfword[counted])
    names = ("(unnamed)", *(function.name for function in image.functions))
    counts: dict[str, int] = {}
    for index in np.flatnonzero(totals):
        counts[names[index]] = counts.get(names[index], 0) + int(totals[index])
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
