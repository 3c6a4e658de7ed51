"""What the stack analysis knows about an instruction set: what moves the stack pointer, and how."""

from dataclasses import dataclass
from typing import Protocol

from lepton_cc.artifacts.stack.listing import Instruction


@dataclass(frozen=True, slots=True)
class State:
    """Where the stack pointer stands: `depth` bytes below its place at the function's entry.

    `frame` is the same for the frame pointer, None when it holds something else. `constants` holds
    registers with known content, which large frames are subtracted with.
    """

    depth: int = 0
    frame: int | None = None
    constants: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Effect:
    """What one instruction does.

    `touched` is the deepest byte that it writes below the entry; `calls` a function's name (empty:
    through a register); `is_tail`: the call does not come back; `targets` labels that it may go to;
    `goes_on`: the next instruction may follow; `anywhere`: it may go to every label.
    """

    state: State
    touched: int = 0
    calls: str | None = None
    is_tail: bool = False
    targets: tuple[str, ...] = ()
    goes_on: bool = True
    anywhere: bool = False


class StackMachine(Protocol):
    """An instruction set."""

    @property
    def return_address_bytes(self) -> int:
        """Bytes that a call pushes."""
        ...

    def step(self, state: State, instruction: Instruction) -> Effect:
        """The effect of an instruction.

        Raises:
            InternalError: it changes the stack pointer in a way that is not understood.
        """
        ...
