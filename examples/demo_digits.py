"""The demo: compiles a digit classifier for lepton-npu and runs it on the emulated chip.

The float model becomes 8-bit integers on the way, with ranges from 80 of the samples, and is
tried on the other 20. `make demo` runs it. It needs nothing but what pip installed: no board, no
tool chain, no network.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import lepton_cc

MODELS = Path(__file__).resolve().parent.parent / "models"
MODEL = MODELS / "digits_cnn.onnx"
TARGET = "lepton-npu"
NUM_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Result:
    """One image's run: instructions of the control core, cycles of the tensor engine."""

    label: int
    predicted: int
    instructions: int
    engine_cycles: int
    seconds: float


def classify(model: lepton_cc.CompiledModel, image: NDArray[np.float32], label: int) -> Result:
    """Run one image `[1, 8, 8]`, float32 in 0..1; `seconds` is the emulator's wall-clock time."""
    start = time.perf_counter()
    logits = model.run({"image": image[None]})["logits"]
    return Result(
        label=label,
        predicted=int(logits.argmax()),
        instructions=model.last_instructions,
        engine_cycles=model.last_engine_cycles,
        seconds=time.perf_counter() - start,
    )


def results_table(results: list[Result]) -> Table:
    """A row for each image."""
    table = Table(title=f"Real handwritten digits on an emulated {TARGET}")
    for heading in ("image", "label", "predicted", "instructions", "engine cycles", "emulated in"):
        table.add_column(heading, justify="right")
    for number, result in enumerate(results):
        colour = "green" if result.predicted == result.label else "red"
        table.add_row(
            str(number),
            str(result.label),
            f"[{colour}]{result.predicted}[/]",
            f"{result.instructions:,}",
            f"{result.engine_cycles:,}",
            f"{result.seconds * 1e3:.1f} ms",
        )
    return table


def summary_table(
    model: lepton_cc.CompiledModel, results: list[Result], compile_seconds: float
) -> Table:
    """What the build weighs and how it did on the images."""
    num_right = sum(result.predicted == result.label for result in results)
    instructions = sum(result.instructions for result in results) / len(results)
    cycles = sum(result.engine_cycles for result in results) / len(results)
    rows = (
        ("model", f"{MODEL.name}, {MODEL.stat().st_size:,} bytes of float ONNX"),
        ("compiled in", f"{compile_seconds:.2f} s"),
        ("accuracy", f"{num_right} of {len(results)} ({num_right / len(results):.0%})"),
        ("engine", f"{cycles:,.0f} cycles a run"),
        ("control core", f"{instructions:,.0f} instructions a run"),
        ("arena", f"{model.memory.arena_bytes:,} bytes of RAM"),
        ("stack", f"{model.memory.stack_bytes:,} bytes of RAM"),
        ("flash", f"{model.memory.flash_bytes:,} bytes"),
    )
    table = Table(title="Summary", show_header=False)
    for row in rows:
        table.add_row(*row)
    return table


def main() -> None:
    """Compile, run samples that the calibration did not see, print both tables."""
    console = Console()
    samples = np.load(MODELS / "digits_samples.npz")
    start = time.perf_counter()
    calibration = samples["x"][NUM_SHOWN:]
    model = lepton_cc.compile(MODEL, target=TARGET, opt=3, calibrate={"image": calibration})
    # Code is generated when somebody asks for it, and its size is asking: count that as well.
    assert model.memory.flash_bytes
    compile_seconds = time.perf_counter() - start
    results = [
        classify(model, image, int(label))
        for image, label in zip(samples["x"][:NUM_SHOWN], samples["y"][:NUM_SHOWN], strict=True)
    ]
    console.print(results_table(results))
    console.print(summary_table(model, results, compile_seconds))


if __name__ == "__main__":
    main()
