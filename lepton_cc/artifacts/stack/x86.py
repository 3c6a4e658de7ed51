"""The stack pointer in x86-64 code (AT&T syntax), with realigned frames and the red zone."""

import re
from dataclasses import replace

from lepton_cc.artifacts.stack.listing import Instruction
from lepton_cc.artifacts.stack.machine import Effect, State
from lepton_cc.ir.diagnostics import InternalError

_WORD = 8
_POINTER, _FRAME = "%rsp", "%rbp"
_BELOW = re.compile(r"(-\d+)\(%rsp")
_FROM_FRAME = re.compile(r"(-?\d*)\(%rbp\)$")
_FROM_POINTER = re.compile(r"(-?\d*)\(%rsp\)$")
_READ_ONLY = frozenset({"cmpq", "testq"})


class X86Stack:
    """x86-64 under the System V ABI: a call pushes its return address."""

    return_address_bytes = _WORD

    def step(self, state: State, instruction: Instruction) -> Effect:
        """See `StackMachine`."""
        name, operands = instruction.mnemonic, instruction.operands
        if name in ("callq", "call"):
            indirect = operands[0].startswith("*")
            symbol = "" if indirect else operands[0].removesuffix("@PLT")
            return Effect(state, state.depth, calls=symbol)
        if name in ("retq", "ret", "ud2"):
            return Effect(state, state.depth, goes_on=False)
        if name in ("jmp", "jmpq"):
            return self._jump(state, operands[0])
        if name.startswith("j"):
            return Effect(state, state.depth, targets=operands)
        moved = self._moved(state, instruction)
        below = [-int(offset) for operand in operands for offset in _BELOW.findall(operand)]
        return Effect(moved, max(moved.depth, state.depth + max(below, default=0)))

    def _jump(self, state: State, target: str) -> Effect:
        if target.startswith("*"):
            return Effect(state, state.depth, goes_on=False, anywhere=True)
        if target.startswith("."):
            return Effect(state, state.depth, targets=(target,), goes_on=False)
        symbol = target.removesuffix("@PLT")
        return Effect(state, state.depth, calls=symbol, is_tail=True, goes_on=False)

    def _moved(self, state: State, instruction: Instruction) -> State:
        name, operands = instruction.mnemonic, instruction.operands
        if name.startswith("push"):
            return replace(state, depth=state.depth + _WORD)
        if name.startswith("pop"):
            frame = None if operands == (_FRAME,) else state.frame
            return replace(state, depth=state.depth - _WORD, frame=frame)
        if len(operands) < 2 or name in _READ_ONLY:
            return state
        if operands[-1] == _FRAME:
            is_frame = name == "movq" and operands[0] == _POINTER
            return replace(state, frame=state.depth if is_frame else None)
        if operands[-1] != _POINTER:
            return state
        return replace(state, depth=self._new_depth(state, instruction))

    def _new_depth(self, state: State, instruction: Instruction) -> int:
        name, source = instruction.mnemonic, instruction.operands[0]
        if source.startswith("$"):
            number = int(source[1:], 0)
            if name == "subq":
                return state.depth + number
            if name == "addq":
                return state.depth - number
            if name == "andq" and number < 0:
                # The pointer is a multiple of a word: rounding down moves it by less than a line.
                return state.depth - number - _WORD
        if state.frame is not None:
            if name == "movq" and source == _FRAME:
                return state.frame
            offset = _FROM_FRAME.match(source)
            if name == "leaq" and offset:
                return state.frame - int(offset[1] or 0)
        offset = _FROM_POINTER.match(source)
        if name == "leaq" and offset:
            return state.depth - int(offset[1] or 0)
        raise InternalError(f"stack analysis: {instruction} moves the stack pointer")
