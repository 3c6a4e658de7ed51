"""The Python API: `compile` gives a `CompiledModel`, which runs, measures, reports and saves."""

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from lepton_cc.artifacts.emit import Artifacts, EmitKind
from lepton_cc.calibration.data import CalibrationSource
from lepton_cc.calibration.quantize import quantization_options
from lepton_cc.codegen.program import Port
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiler import Compilation, CompileOptions, compile_model
from lepton_cc.emulated import EmulatedModel
from lepton_cc.emulator import EmulatedRun
from lepton_cc.engine_report.document import EngineReport
from lepton_cc.engine_report.summary import core_notes
from lepton_cc.executable import Executable
from lepton_cc.frontend.model_source import AnyModel, model_sha256, model_source
from lepton_cc.ir.diagnostics import Code, UsageError, refuse
from lepton_cc.ir.target import Execution
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.measure.layer_times import LayerTime, timed_layers
from lepton_cc.report import LayerReport, MemoryReport
from lepton_cc.sample_inputs import made_up_inputs
from lepton_cc.thread_pool import ThreadPool

DEFAULT_TARGET = "x86-64"
_BENCH_REPEATS = 5


def compile(  # noqa: PLR0913  # options of the command line, by keyword
    model: AnyModel,
    *,
    target: str = DEFAULT_TARGET,
    opt: int | str = 3,
    dims: Mapping[str, int] | None = None,
    constants: Mapping[str, Array] | None = None,
    name: str = "",
    require_integer: bool = False,
    quantize: str | None = None,
    calibrate: CalibrationSource | None = None,
    calibration_method: str | None = None,
    io: Literal["model", "quantized"] = "model",
) -> "CompiledModel":
    """Compiles an ONNX model: a path, or an `onnx.ModelProto`.

    `target` is the name of a target, `host` for the best level of this machine, or a TOML file.
    `opt` is 0 to 3 or "s". `dims` binds open dimensions by name; `constants` gives inputs a value
    that is known now, they vanish from the interface. `name` prefixes every symbol (default: the
    file's name). `require_integer` refuses a model of which anything stays float.

    `quantize` is "w8a8" (the default for targets with a tensor engine), "w4a8", "w8a16" or "w4a16"
    and makes integers of a float model; "none" keeps floats; `calibrate` are samples of
    its inputs, an `.npz` or arrays `[samples, ...]` by input name, without which ranges are guessed
    from random ones; `calibration_method` is "mse" (default), "minmax", "percentile" or "entropy".

    `io="quantized"` makes inputs and outputs the integers that the model quantizes them to.

    Raises:
        Refused: the model, or something it wants, is not supported; with every reason.
        UsageError: an argument makes no sense.
    """
    try:
        level = OptLevel(str(opt))
    except ValueError:
        raise UsageError(f"opt={opt!r} is none of 0, 1, 2, 3, 's'") from None
    chosen = load_target(target)
    options = CompileOptions(
        chosen,
        level,
        name,
        dims or {},
        constants or {},
        require_integer,
        quantization=quantization_options(quantize, calibrate, calibration_method, chosen),
        integer_ports=io == "quantized",
    )
    source = model_source(model)
    return CompiledModel(compile_model(source, options), model_sha256(source))


def default_kinds(execution: Execution) -> tuple[EmitKind, ...]:
    """What is written for a target when nobody says: what its user links, and what runs it."""
    if execution is Execution.CONTROL_CORE:
        return (EmitKind.LIB, EmitKind.ELF)
    return (EmitKind.LIB,)


class CompiledModel:
    """A model as machine code. Not to be used by two threads at the same time."""

    def __init__(self, compilation: Compilation, model_hash: str) -> None:
        self.compilation = compilation
        self._model_sha256 = model_hash
        self._artifacts = Artifacts(compilation)

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The model's inputs: ONNX name, name in C, type."""
        return self.compilation.program.inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The model's outputs: ONNX name, name in C, type."""
        return self.compilation.program.outputs

    @property
    def notes(self) -> tuple[str, ...]:
        """What the target has to say, what its engine leaves to the core and why, calibration."""
        quantized = self.compilation.quantized
        warning = "" if quantized is None else quantized.record.warning
        core = () if self.engine is None else core_notes(self.engine)
        return (*self.compilation.options.target.notes, *core, *filter(None, [warning]))

    @property
    def engine(self) -> EngineReport | None:
        """What the tensor engine does, layer by layer; None if the target has none."""
        return self._artifacts.engine

    def run(
        self, inputs: Mapping[str, Array], *, threads: ThreadPool | None = None
    ) -> dict[str, Array]:
        """Runs the machine code once: in this process, or in the target's emulator.

        `threads` run the parallel loops of -O3, to the same bytes; an emulated core has one.

        Raises:
            Refused: an input is missing or has another dtype or shape; the code does not run on
                this machine; the emulated core faulted.
            ToolchainError: the emulator's image needs a tool chain, and there is none.
        """
        if self.compilation.options.target.execution is Execution.CONTROL_CORE:
            return self._emulated.run(inputs)
        return self._executable.run(inputs, threads=threads)

    def bench(self, num_runs: int = 100, inputs: Mapping[str, Array] | None = None) -> float:
        """Seconds of one run, without Python's overhead: the best of five means.

        `num_runs` are divided among the five; `inputs` defaults to made-up ones.

        Raises:
            Refused: the target's code runs in an emulator, whose time says nothing.
        """
        self._refuse_emulated()
        call = self._executable.prepare(made_up_inputs(self.inputs) if inputs is None else inputs)
        call.run()
        each = max(1, num_runs // _BENCH_REPEATS)
        return min(call.seconds(each) for _ in range(_BENCH_REPEATS))

    def profile(
        self, num_runs: int = 100, inputs: Mapping[str, Array] | None = None
    ) -> tuple[LayerTime, ...]:
        """The least seconds of each layer, by a copy of the code that has hooks.

        `inputs` defaults to made-up ones.

        Raises:
            Refused: the target's code runs in an emulator, whose time says nothing.
        """
        self._refuse_emulated()
        level = LEVELS[self.compilation.options.level].llvm_level
        executable = Executable(self.compilation.program, level, profile=True)
        call = executable.prepare(made_up_inputs(self.inputs) if inputs is None else inputs)
        return timed_layers(call.run, executable.ticks, self.layers, num_runs)

    def _refuse_emulated(self) -> None:
        if self.compilation.options.target.execution is not Execution.NATIVE:
            raise refuse(
                Code.TARGET_UNSUPPORTED,
                f"{self.compilation.options.target.name} is emulated: its time means nothing",
                hint="run the model and read last_instructions",
            )

    def save(self, folder: str | os.PathLike[str], *, emit: Sequence[str] = ()) -> None:
        """Writes what the command line writes: library, header, plan, manifest, and `emit`.

        Raises:
            Refused: it does not fit the target's memories, or the folder cannot be written.
            ToolchainError: an image is to be linked, and there is no tool chain.
        """
        kinds = [EmitKind(kind) for kind in emit]
        execution = self.compilation.options.target.execution
        self._artifacts.write(Path(folder), kinds or default_kinds(execution), self._model_sha256)

    @property
    def memory(self) -> MemoryReport:
        """Bytes of RAM and flash."""
        return self._artifacts.memory

    @property
    def layers(self) -> tuple[LayerReport, ...]:
        """A row for each kernel call, in the order of execution."""
        return self._artifacts.layers

    @property
    def artifacts(self) -> Artifacts:
        """Everything that can be written: header, object, listings, image."""
        return self._artifacts

    @property
    def last_instructions(self) -> int:
        """Instructions of the last run in the emulator, builtins included.

        Raises:
            UsageError: nothing was run in an emulator.
        """
        return self._last_run().instructions

    @property
    def last_engine_cycles(self) -> int:
        """Cycles of the tensor engine in the last run in the emulator; 0 without an engine.

        Raises:
            UsageError: nothing was run in an emulator.
        """
        self._last_run()
        return self._emulated.engine_cycles

    def _last_run(self) -> EmulatedRun:
        if self.compilation.options.target.execution is not Execution.CONTROL_CORE:
            raise UsageError("instructions are counted in the emulator only")
        if self._emulated.last is None:
            raise UsageError("the model was not run yet")
        return self._emulated.last

    @cached_property
    def _executable(self) -> Executable:
        level = LEVELS[self.compilation.options.level]
        return Executable(self.compilation.program, level.llvm_level)

    @cached_property
    def _emulated(self) -> EmulatedModel:
        engine = self.compilation.program.engine
        machine = None if engine is None else engine.machine
        num_packets = 0 if self.engine is None else self.engine.num_packets
        elf = self._artifacts.firmware.elf
        return EmulatedModel(elf, self.inputs, self.outputs, machine, num_packets)
