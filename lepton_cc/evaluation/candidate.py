"""A model that is evaluated: how it runs on this machine, and what it costs on its target."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lepton_cc.calibration.data import CalibrationSource
from lepton_cc.codegen.targets.loader import HOST, load_target, runs_on_this_machine
from lepton_cc.compiled_model import CompiledModel
from lepton_cc.compiled_model import compile as compile_
from lepton_cc.evaluation.energy import EnergyEstimate, energy_estimate
from lepton_cc.ir.diagnostics import Refused, ToolchainError
from lepton_cc.ir.graph import Value
from lepton_cc.ir.target import Execution
from lepton_cc.ir.tensor import Array
from lepton_cc.report import LayerReport, MemoryReport
from lepton_cc.saved_model import SavedModel

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]
_TIMED_RUNS = 200
_CORE = "rv32imc"
_ENGINE = "lepton-npu"


@dataclass(frozen=True, slots=True)
class Settings:
    """How ONNX models are compiled: for which targets, and made integers by which data.

    `scheme` empty: they stay as they are. `instructions`, `cycles`: whether those are counted, too.
    """

    targets: tuple[str, ...] = (HOST,)
    dims: Mapping[str, int] | None = None
    scheme: str = ""
    source: CalibrationSource | None = None
    method: str | None = None
    instructions: bool = False
    cycles: bool = False


@dataclass(frozen=True, slots=True)
class Costs:
    """What a model costs. `file_bytes`: of what was given; None: this form is in no file.

    Memories and multiply-adds are those of `target`. `host_seconds`: of one run on one thread of
    this machine. `instructions` on the emulated `core`, `cycles` of the `engine`, which are
    estimated and what its emulator counts. `notes`: why a figure is missing.
    """

    target: str
    file_bytes: int | None
    constants_bytes: int
    arena_bytes: int
    stack_bytes: int
    flash_bytes: int
    num_macs: int
    energy: EnergyEstimate
    host_seconds: float | None = None
    instructions: int | None = None
    cycles: int | None = None
    core: str = _CORE
    engine: str = _ENGINE
    notes: tuple[str, ...] = ()

    @property
    def ram_bytes(self) -> int:
        """Arena and stack."""
        return self.arena_bytes + self.stack_bytes


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model ready to run on this machine, or in its target's emulator.

    `costs` are those on its first target, `elsewhere` those on the others.
    """

    name: str
    inputs: tuple[Value, ...]
    run: Run
    costs: Costs
    elsewhere: tuple[Costs, ...] = ()


def _costs(
    target: str, file_bytes: int | None, memory: MemoryReport, layers: tuple[LayerReport, ...]
) -> Costs:
    return Costs(
        target,
        file_bytes,
        memory.constants_bytes,
        memory.arena_bytes,
        memory.stack_bytes,
        memory.flash_bytes,
        sum(layer.num_macs for layer in layers),
        energy_estimate(layers, memory),
    )


def saved_candidate(folder: Path, sample: Mapping[str, Array] | None = None) -> Candidate:
    """What was compiled into a folder; `file_bytes` is all of its files.

    Raises:
        Refused: the folder is no build, or does not run here.
    """
    model = SavedModel(folder)
    build = model.build
    size = sum((folder / name).stat().st_size for name in build.files)
    costs = _costs(build.target.name, size, build.memory, build.layers)
    if model.emulated is None and sample is not None:
        costs = replace(costs, host_seconds=model.prepare(sample).seconds(_TIMED_RUNS))
    if model.engine is not None and model.engine.segments:
        costs = replace(costs, cycles=model.engine.cycles, engine=build.target.name)
    return Candidate(folder.name, build.interface.input_values(), model.run, costs)


def compiled_candidate(
    path: Path, settings: Settings, sample: Mapping[str, Array] | None = None
) -> Candidate:
    """A model file, compiled for this machine to run, and for the target to know its costs.

    Raises:
        Refused: it cannot be compiled; with every reason.
    """
    here = compiled(path, settings, HOST)
    size = None if settings.scheme else path.stat().st_size
    costs, *elsewhere = (
        _costs_on(path, settings, target, here, sample) for target in settings.targets
    )
    costs = replace(costs, file_bytes=size, host_seconds=here.bench(_TIMED_RUNS, sample))
    if settings.cycles and _ENGINE not in settings.targets:
        costs = _with_cycles(costs, path, settings)
    if settings.instructions and sample is not None and _CORE not in settings.targets:
        costs = _with_instructions(costs, lambda: compiled(path, settings, _CORE), sample)
    inputs = tuple(Value(port.name, port.type) for port in here.inputs)
    name = f"{path.stem} {settings.scheme}".rstrip()
    return Candidate(name, inputs, here.run, costs, tuple(elsewhere))


def _costs_on(
    path: Path,
    settings: Settings,
    name: str,
    here: CompiledModel,
    sample: Mapping[str, Array] | None,
) -> Costs:
    """On one target; cycles where its engine has work, instructions if they are to be counted."""
    target = load_target(name)
    is_here = runs_on_this_machine(target) and name == HOST
    there = here if is_here else compiled(path, settings, name)
    costs = _costs(target.name, None, there.memory, there.layers)
    if there.engine is not None and there.engine.segments:
        costs = replace(costs, cycles=there.engine.cycles, engine=target.name)
    is_core = target.execution is Execution.CONTROL_CORE and target.engine is None
    if settings.instructions and sample is not None and is_core:
        costs = _with_instructions(replace(costs, core=name), lambda: there, sample)
    return costs


def compiled(path: Path, settings: Settings, target: str) -> CompiledModel:
    """The model as it is evaluated, for a target."""
    return compile_(
        path,
        target=target,
        dims=settings.dims,
        quantize=settings.scheme or "none",
        calibrate=settings.source,
        calibration_method=settings.method,
    )


def _with_cycles(costs: Costs, path: Path, settings: Settings) -> Costs:
    try:
        engine = compiled(path, settings, _ENGINE).engine
    except Refused as error:
        return replace(costs, notes=(*costs.notes, f"no cycles: {error.diagnostics[0].message}"))
    if engine is None or not engine.segments:
        return replace(costs, notes=(*costs.notes, "no cycles: nothing runs on the engine"))
    return replace(costs, cycles=engine.cycles)


def _with_instructions(
    costs: Costs, make: Callable[[], CompiledModel], sample: Mapping[str, Array]
) -> Costs:
    """make: gives the model, compiled for the core; its refusal is said, too."""
    try:
        model = make()
        model.run(sample)
    except Refused as error:
        reason = error.diagnostics[0].message
        return replace(costs, notes=(*costs.notes, f"no instructions: {reason}"))
    except ToolchainError as error:
        reason = error.diagnostic.message
        return replace(costs, notes=(*costs.notes, f"no instructions: {reason}"))
    return replace(costs, instructions=model.last_instructions)
