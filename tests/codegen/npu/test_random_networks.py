"""Random networks on every member, with any scratchpad: the interpreter's bytes, on time.

`assert_runs_as_interpreted` also proves that the streams have no hazards.
"""

from collections import Counter as Tally

import numpy as np
import pytest

from lepton_cc.codegen.npu.isa.family import FAMILY
from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.codegen.npu.machine import Machine, native
from lepton_cc.codegen.npu.select import select
from lepton_cc.codegen.npu.systems.loader import load_system, system_names
from tests.codegen.npu.random_networks import random_network
from tests.codegen.npu.run_segment import assert_runs_as_interpreted, random_inputs

_QUICK = 25
_SLOW = 100


def machine_for(seed: int) -> Machine:
    """Members and systems in turn; most with far less scratchpad than they have."""
    rng = np.random.default_rng(seed)
    chip = FAMILY[seed % len(FAMILY)]
    systems = system_names()
    system = load_system(systems[seed // len(FAMILY) % len(systems)], chip)
    machine = native(chip.macs, system)
    return machine.with_spm(int(rng.integers(1, 40)) * 512) if rng.random() < 0.6 else machine


def run_batch(seeds: range) -> Tally[str]:
    """Runs the networks of these seeds; how often each means was used."""
    used: Tally[str] = Tally()
    for seed in seeds:
        body = random_network(seed)
        if select(body).reasons:
            used["refused"] += 1
            continue
        try:
            segment = assert_runs_as_interpreted(body, machine_for(seed), random_inputs(body, seed))
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
        used["cascade"] += bool(segment.shape.cascades)
        used["spill"] += bool(segment.spilled_bytes)
        used["separable"] += any(p.opcode is Opcode.SEPARABLE for p in segment.packets)
        used["run"] += 1
    return used


@pytest.mark.parametrize("batch", range(8))
def test_random_networks(batch: int) -> None:
    used = run_batch(range(_QUICK * batch, _QUICK * (batch + 1)))
    assert used["run"] > _QUICK * 4 // 5


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("batch", range(20))
def test_thousands_of_random_networks(batch: int) -> None:
    first = 10_000 + _SLOW * batch
    used = run_batch(range(first, first + _SLOW))
    # Networks that never needed these would test little.
    assert min(used["cascade"] + used["spill"], used["separable"]) > 0, used
