"""Interrupts and sleep of the emulated core: a timer as the device, handlers in C."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lepton_cc.emulator import Bus, ControlCore
from lepton_cc.ir.diagnostics import Refused
from lepton_cc.linking import BoardPort, ControlCoreConfig, application_glue, link_elf
from tests.lepton_cc.emulator.models import MATMUL, SIZE
from tests.lepton_cc.firmware import HARD_FLOAT, SOFT_FLOAT, HandModel, link_model, toolchain_for

_START, _CLEAR, _TIME = 0, 4, 8


@dataclass(slots=True)
class Timer:
    """Interrupts so many cycles after a store of that number to its first register."""

    base: int = 0x50000000
    size_bytes: int = 0x1000
    left: int = 0
    time: int = 0
    interrupt: bool = False

    @property
    def is_busy(self) -> bool:
        return self.left > 0

    def connect(self, bus: Bus) -> None:
        self.left = self.time = 0
        self.interrupt = False

    def advance(self, cycles: int) -> None:
        self.time += cycles
        if self.left:
            self.left = max(0, self.left - cycles)
            self.interrupt = self.left == 0

    def load(self, offset: int, size_bytes: int) -> int:
        return self.time & 0xFFFFFFFF if offset == _TIME else 0

    def store(self, offset: int, size_bytes: int, value: int) -> None:
        if offset == _START:
            self.left = value
        elif offset == _CLEAR:
            self.interrupt = False


# Hashes while the timer interrupts; the handler uses all registers that a call may change.
HASHES = HandModel(
    name="hashes",
    inputs=(BoardPort("period", "uint32_t", 1),),
    outputs=(BoardPort("z", "uint32_t", 3),),
    source="""
#include "lepton/application.h"
#define TIMER ((volatile uint32_t *)0x50000000)
static volatile uint32_t interrupts, period;
static float mean;
__attribute__((noinline)) static uint32_t mix(uint32_t a, uint32_t b, uint32_t c, uint32_t d,
                                              uint32_t e, uint32_t f, uint32_t g, uint32_t h) {
    return (a ^ b) * (c + d) + (e ^ f) * (g + h);
}
void lepton_board_interrupt(void) {
    uint32_t n = ++interrupts;
    mean = mean * 0.5f + (float)n;
    TIMER[1] = mix(n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7);
    TIMER[0] = period;
}
lepton_status hashes_run(const hashes_inputs *in, const hashes_outputs *out, void *arena) {
    uint32_t hash = 2166136261u, i;
    float sum = 0.0f;
    period = in->period[0];
    if (period) { lepton_board_enable_interrupts(); TIMER[0] = period; }
    for (i = 0; i < 20000; i++) {
        hash = (hash ^ (i & 255)) * 16777619u;
        sum = sum * 0.75f + (float)(hash & 63);
    }
    lepton_board_disable_interrupts();
    out->z[0] = hash; out->z[1] = (uint32_t)(sum * 1024.0f); out->z[2] = interrupts;
    return LEPTON_OK;
}
""",
)

SLEEPER = """
#include "lepton/application.h"
#define TIMER ((volatile uint32_t *)0x50000000)
static volatile uint32_t interrupts;
void lepton_board_interrupt(void) { ++interrupts; TIMER[1] = 1; }
lepton_status lepton_application(void) {
    uint32_t before = TIMER[2];
    uint32_t i;
    for (i = 1; i <= 5; i++) {
        TIMER[0] = 1000000 * i;
        lepton_board_sleep();                  /* the line wakes the core, nothing is taken */
        if (interrupts != i - 1) return -50;
        lepton_board_enable_interrupts();
        lepton_board_disable_interrupts();     /* taken between the two */
        if (interrupts != i) return -51;
    }
    if (TIMER[2] - before < 15000000) return -52;
    lepton_board_print("slept\\n");
    return LEPTON_OK;
}
"""

CARELESS = """
#include "lepton/application.h"
lepton_status lepton_application(void) {
    lepton_board_enable_interrupts();
    *(volatile uint32_t *)0x50000000 = 5000;
    for (;;) {}
}
"""


def link_application(source: str, folder: Path, config: ControlCoreConfig = SOFT_FLOAT) -> Path:
    """An image of one C file with `lepton_application`."""
    path = folder / "application.c"
    path.write_text(source, encoding="utf-8")
    image = link_elf(
        [],
        application_glue(),
        config=config,
        toolchain=toolchain_for(config),
        out=folder / "application.elf",
        extra_sources=[path],
    )
    return image.path


@pytest.mark.parametrize("config", [SOFT_FLOAT, HARD_FLOAT], ids=["rv32imc", "rv32imafc"])
def test_interrupts_leave_no_trace_in_what_they_interrupt(
    config: ControlCoreConfig, tmp_path: Path
) -> None:
    core = ControlCore(link_model(HASHES, config, tmp_path).path, devices=[Timer()])

    def run(period: int) -> tuple[list[int], int]:
        result = core.run({"period": period.to_bytes(4, "little")})
        return np.frombuffer(result.outputs["z"], np.uint32).tolist(), result.instructions

    (*calm, none), instructions = run(0)
    assert none == 0
    for period in (20_000, 3_000):
        (*disturbed, taken), more = run(period)
        assert disturbed == calm
        assert taken > instructions // period // 2
        assert more > instructions
    assert run(3_000) == run(3_000)


def test_pauses_do_not_change_the_count(tmp_path: Path) -> None:
    """A busy device has the core paused all the time."""
    elf = link_model(MATMUL, SOFT_FLOAT, tmp_path).path
    rng = np.random.default_rng(1)
    inputs = {
        "x": rng.standard_normal(SIZE * SIZE).astype(np.float32).tobytes(),
        "y": np.array([77, 5], np.int64).tobytes(),
    }

    class Ticking(Timer):
        @property
        def is_busy(self) -> bool:
            return True

    ticking = Ticking()
    paused = ControlCore(elf, devices=[ticking]).run(inputs)
    calm = ControlCore(elf).run(inputs)
    assert ticking.time > calm.instructions
    assert paused.instructions == calm.instructions
    assert paused.instructions_by_function == calm.instructions_by_function
    assert paused.outputs == calm.outputs


def test_sleeps_until_the_line_is_raised(tmp_path: Path) -> None:
    run = ControlCore(link_application(SLEEPER, tmp_path), devices=[Timer()]).run({})
    assert run.console == "slept\n"
    assert run.instructions < 2_000


def test_an_interrupt_without_a_handler_is_reported(tmp_path: Path) -> None:
    core = ControlCore(link_application(CARELESS, tmp_path), devices=[Timer()])
    with pytest.raises(Refused, match="interrupt without a handler"):
        core.run({})


def test_sleep_that_nothing_ends_is_reported(tmp_path: Path) -> None:
    source = SLEEPER.replace("TIMER[0] = 1000000 * i;", "")
    core = ControlCore(link_application(source, tmp_path), devices=[Timer()])
    with pytest.raises(Refused, match=r"waits for an interrupt that will not come.*board_sleep"):
        core.run({})
