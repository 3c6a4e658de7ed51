"""Reads LLVM's assembly listing: the functions with their instructions and labels."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_TYPE = re.compile(r'\s*\.type\s+"?([^",]+)"?\s*,\s*@function')
_LABEL = re.compile(r'"?([A-Za-z_.$][\w.$]*)"?:')
_FUNCTION_END = ".Lfunc_end"


@dataclass(frozen=True, slots=True)
class Instruction:
    """A mnemonic and its operands as they are written."""

    mnemonic: str
    operands: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.mnemonic} {', '.join(self.operands)}"


@dataclass(frozen=True, slots=True)
class Function:
    """A function and its instructions; `labels` gives the number that each stands before."""

    name: str
    instructions: tuple[Instruction, ...]
    labels: Mapping[str, int]


def read_functions(assembly: str) -> Iterator[Function]:
    """The functions of a listing for ELF (AT&T syntax on x86), in order."""
    expected = ""
    name = ""
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    for line in assembly.splitlines():
        declared = _TYPE.match(line) if not name else None
        if declared:
            expected = declared[1]
            continue
        label = _LABEL.match(line)
        if label and not name:
            if label[1] == expected:
                name, instructions, labels = expected, [], {}
        elif label and label[1].startswith(_FUNCTION_END):
            yield Function(name, tuple(instructions), labels)
            name = expected = ""
        elif label:
            labels[label[1]] = len(instructions)
        elif name:
            instruction = _instruction(line)
            if instruction is not None:
                instructions.append(instruction)


def _instruction(line: str) -> Instruction | None:
    text = line.partition("#")[0].strip()
    if not text or text.startswith("."):
        return None
    mnemonic, _, rest = text.partition("\t")
    if not rest:
        mnemonic, _, rest = text.partition(" ")
    return Instruction(mnemonic, tuple(_operands(rest)))


def _operands(text: str) -> Iterator[str]:
    """Splits at commas outside parentheses, which x86 addresses have inside."""
    depth = start = 0
    for position, character in enumerate(text):
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif character == "," and depth == 0:
            yield text[start:position].strip()
            start = position + 1
    if text[start:].strip():
        yield text[start:].strip()
