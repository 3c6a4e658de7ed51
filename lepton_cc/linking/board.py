"""Writes the C file that ties a model to the control-core board: its buffers and its table."""

import string
from collections.abc import Sequence
from dataclasses import dataclass

_PLAIN = frozenset((string.ascii_letters + string.digits + " _-./:()[]").encode())

_MEASURE = """\
/* Written in assembly, which passes the arguments on untouched whatever their types are. */
lepton_status lepton_board_measure(
    const {name}_inputs *in, const {name}_outputs *out, void *arena,
    lepton_status (*run)(const {name}_inputs *, const {name}_outputs *, void *));
"""

_RUN = """\
static lepton_status run_model(void)
{{
    return lepton_board_measure(&inputs, &outputs, {arena}, {name}_run);
}}
"""

_TABLE = """\
const lepton_board_model lepton_board_the_model = {{
    LEPTON_BOARD_VERSION,
    run_model,
    {num_inputs}u,
    {inputs},
    {num_outputs}u,
    {outputs},
    {arena},
    {arena_bytes}u,
}};
"""


@dataclass(frozen=True, slots=True)
class BoardPort:
    """One input or output: the ONNX name, the C type of an element (`float`) and their number."""

    name: str
    c_type: str
    num_elements: int


def board_source(
    name: str, inputs: Sequence[BoardPort], outputs: Sequence[BoardPort], *, arena_bytes: int
) -> str:
    """Writes the glue of the model `name`, whose `NAME.h` it includes.

    Inputs and outputs stand in the order of the generated structs' fields.
    """
    parts = [
        f"/* {name}_board.c: buffers of {name} on the control-core board. */\n",
        f'#include "{name}.h"\n#include "board.h"\n',
        _MEASURE.format(name=name),
        _buffers("input", inputs) + _buffers("output", outputs) + _arena(arena_bytes),
        _pointers(name, "input", len(inputs)) + _pointers(name, "output", len(outputs)),
        _ports("input", inputs) + _ports("output", outputs),
        _RUN.format(name=name, arena=_arena_name(arena_bytes)),
        _TABLE.format(
            num_inputs=len(inputs),
            inputs="input_ports" if inputs else "0",
            num_outputs=len(outputs),
            outputs="output_ports" if outputs else "0",
            arena=_arena_name(arena_bytes),
            arena_bytes=arena_bytes,
        ),
    ]
    return "\n".join(part for part in parts if part)


def _buffers(role: str, ports: Sequence[BoardPort]) -> str:
    return "".join(
        f"LEPTON_BOARD_UNZEROED LEPTON_ALIGNED(16) static {port.c_type} "
        f"{role}_{index}[{port.num_elements} + LEPTON_BOARD_GUARD_BYTES / sizeof({port.c_type})];\n"
        for index, port in enumerate(ports)
    )


def _arena(arena_bytes: int) -> str:
    if arena_bytes == 0:
        return ""
    return (
        "LEPTON_BOARD_UNZEROED LEPTON_ALIGNED(LEPTON_ARENA_ALIGNMENT) "
        f"static uint8_t arena[{arena_bytes} + LEPTON_BOARD_GUARD_BYTES];\n"
    )


def _arena_name(arena_bytes: int) -> str:
    return "arena" if arena_bytes else "0"


def _pointers(name: str, role: str, num_ports: int) -> str:
    fields = ", ".join(f"{role}_{index}" for index in range(num_ports)) or "0"
    return f"static const {name}_{role}s {role}s = {{{fields}}};\n"


def _ports(role: str, ports: Sequence[BoardPort]) -> str:
    if not ports:
        return ""
    rows = "".join(
        f"    {{{_c_string(port.name)}, {role}_{index}, "
        f"{port.num_elements}u * (uint32_t)sizeof({port.c_type})}},\n"
        for index, port in enumerate(ports)
    )
    return f"static const lepton_board_port {role}_ports[] = {{\n{rows}}};\n"


def _c_string(text: str) -> str:
    # Octal, because a hexadecimal escape would swallow the digits behind it.
    return (
        '"'
        + "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03o}" for byte in text.encode())
        + '"'
    )
