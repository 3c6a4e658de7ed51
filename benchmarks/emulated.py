"""Instructions of one inference on the emulated control core, without and with a float unit."""

from dataclasses import dataclass

import lepton_cc
from benchmarks.contest import Contestant, sample_inputs

TARGETS = ("rv32imc", "rv32imafc")


@dataclass(frozen=True, slots=True)
class Count:
    """Instructions of one run by target, and the multiply-adds that they do."""

    name: str
    num_macs: int
    instructions: tuple[int, ...]


def count_instructions(contestant: Contestant) -> Count:
    """Builds, links and runs the model on each core."""
    model = contestant.load()
    instructions = []
    num_macs = 0
    for target in TARGETS:
        compiled = lepton_cc.compile(model, target=target, name="model")
        compiled.run(sample_inputs(model))
        instructions.append(compiled.last_instructions)
        num_macs = sum(call.num_macs for call in compiled.compilation.program.calls)
    return Count(contestant.name, num_macs, tuple(instructions))
