"""Instruction boundaries of RISC-V code."""

from hypothesis import given
from hypothesis import strategies as st

from lepton_cc.emulator.instruction_starts import instruction_starts

NOP = (0x00000013).to_bytes(4, "little")
SHORT_NOP = (0x0001).to_bytes(2, "little")


@given(st.lists(st.sampled_from([NOP, SHORT_NOP])))
def test_walks_mixed_lengths(instructions: list[bytes]) -> None:
    starts = instruction_starts(b"".join(instructions), ())
    expected: list[bool] = []
    for instruction in instructions:
        expected += [True, *([False] * (len(instruction) // 2 - 1))]
    assert starts.tolist() == expected


def test_function_entries_set_the_walk_right() -> None:
    # Half an instruction before the function would otherwise swallow its first halfword.
    text = NOP[:2] + SHORT_NOP + NOP
    assert instruction_starts(text, ()).tolist() == [True, False, True, False]
    assert instruction_starts(text, [2]).tolist() == [True, True, True, False]
