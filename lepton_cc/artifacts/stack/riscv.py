"""The stack pointer in RISC-V code: frames of any size, with or without a frame pointer."""

from dataclasses import replace

from lepton_cc.artifacts.stack.listing import Instruction
from lepton_cc.artifacts.stack.machine import Effect, State
from lepton_cc.ir.diagnostics import InternalError

_STACK_ALIGNMENT = 16
_POINTER, _FRAME = "sp", "s0"
# They read their first operand; every other instruction writes it.
_STORES = frozenset({"sb", "sh", "sw", "sd", "fsw", "fsd"})
_PAGE_BITS = 12


class RiscvStack:
    """RV32 and RV64 under their standard ABIs: the return address is in a register."""

    return_address_bytes = 0

    def step(self, state: State, instruction: Instruction) -> Effect:
        """See `StackMachine`."""
        name, operands = instruction.mnemonic, instruction.operands
        if name == "call" or (name == "jal" and not operands[-1].startswith(".")):
            return Effect(state, state.depth, calls=operands[-1].removesuffix("@plt"))
        if name == "jalr":
            return Effect(state, state.depth, calls="")
        if name == "tail":
            return Effect(state, state.depth, calls=operands[0], is_tail=True, goes_on=False)
        if name in ("ret", "unimp", "ebreak"):
            return Effect(state, state.depth, goes_on=False)
        if name == "jr":
            return Effect(state, state.depth, goes_on=False, anywhere=True)
        if name == "j":
            return Effect(state, state.depth, targets=operands[-1:], goes_on=False)
        if name.startswith("b") and operands and operands[-1].startswith("."):
            return Effect(state, state.depth, targets=operands[-1:])
        moved = self._moved(state, instruction)
        return Effect(moved, moved.depth)

    def _moved(self, state: State, instruction: Instruction) -> State:
        name, operands = instruction.mnemonic, instruction.operands
        if name in _STORES or not operands:
            return state
        written = operands[0]
        if written == _POINTER:
            return replace(state, depth=self._new_depth(state, instruction))
        if written == _FRAME:
            return replace(state, frame=self._new_frame(state, instruction))
        known = dict(state.constants)
        value = _constant(instruction, known)
        known.pop(written, None)
        if value is not None:
            known[written] = value
        return replace(state, constants=tuple(sorted(known.items())))

    def _new_frame(self, state: State, instruction: Instruction) -> int | None:
        operands = instruction.operands
        if instruction.mnemonic == "addi" and operands[1] == _POINTER:
            return state.depth - int(operands[2], 0)
        return state.depth if operands[1:] == (_POINTER,) else None

    def _new_depth(self, state: State, instruction: Instruction) -> int:
        name, operands = instruction.mnemonic, instruction.operands
        if name in ("addi", "add", "sub") and operands[1] in (_POINTER, _FRAME):
            base = state.depth if operands[1] == _POINTER else state.frame
            known = dict(state.constants)
            amount = int(operands[2], 0) if name == "addi" else known.get(operands[2])
            if base is not None and amount is not None:
                return base + amount if name == "sub" else base - amount
        if name == "mv" and operands[1] == _FRAME and state.frame is not None:
            return state.frame
        if name == "andi" and operands[1] == _POINTER and int(operands[2], 0) < 0:
            return state.depth - int(operands[2], 0) - _STACK_ALIGNMENT
        raise InternalError(f"stack analysis: {instruction} moves the stack pointer")


def _constant(instruction: Instruction, known: dict[str, int]) -> int | None:
    name, operands = instruction.mnemonic, instruction.operands
    try:
        if name == "lui":
            page = int(operands[1], 0)
            signed = page - (1 << 20) if page >= 1 << 19 else page
            return signed << _PAGE_BITS
        if name == "li":
            return int(operands[1], 0)
        if name == "addi" and operands[1] in known:
            return known[operands[1]] + int(operands[2], 0)
    except ValueError:  # a relocation: the address of a symbol
        return None
    return None
