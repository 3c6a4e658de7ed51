"""The compiler as a function: a model and options in, every stage of its compilation out.

The command line, the Python API and the tests all go through `compile_model`.
"""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lepton_cc.calibration.quantize import (
    QuantizationOptions,
    QuantizedModel,
    continued,
    quantize,
)
from lepton_cc.codegen.assemble import assemble
from lepton_cc.codegen.c_identifier import c_identifier
from lepton_cc.codegen.program import Program
from lepton_cc.frontend.model_source import (
    ModelSource,
    model_sha256,
    source_graph,
    source_name,
)
from lepton_cc.ir.diagnostics import Refused
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.target import Target
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.passes.manager import Observer, PassManager, PassRecord
from lepton_cc.passes.quantize.expose_integers import ExposeIntegers, PortScale, port_scales
from lepton_cc.passes.quantize.float_ops import FloatOp, float_ops
from lepton_cc.passes.quantize.raise_integers import RaiseIntegers

if TYPE_CHECKING:
    from lepton_cc.codegen.npu.placement import Fallback

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """What the user chose.

    name: prefix of every symbol; dims: sizes of open dimensions; constants: graph inputs that are
    known now and vanish from the interface; require_integer: whether a float op is an error;
    quantization: how a float model becomes integers, None: it stays as it is; profile: whether
    machine code has hooks that measure its layers; integer_ports: inputs and outputs are the
    integers that the model quantizes them to, where each has one scale; self_test: the payload of
    the tensor engine gets a test that its driver can run.
    """

    target: Target
    level: OptLevel = OptLevel.O3
    name: str = ""
    dims: Mapping[str, int] = field(default_factory=dict)
    constants: Mapping[str, Array] = field(default_factory=dict)
    require_integer: bool = False
    profile: bool = False
    integer_ports: bool = False
    self_test: bool = False
    quantization: QuantizationOptions | None = None


@dataclass(frozen=True, slots=True)
class Compilation:
    """Every stage of one compilation: what was imported, what passes made of it, the program.

    `imported` is the graph that states what is computed: the model's, or, if it was quantized here,
    that with its quantization (`quantized` says how). `float_ops` is what stayed float when the
    integers were raised, `fallbacks` what a target with an engine runs on its core, each with its
    reason; `stage_seconds` holds (stage, seconds) in order.
    """

    options: CompileOptions
    imported: Graph
    graph: Graph
    records: tuple[PassRecord, ...]
    program: Program
    float_ops: tuple[FloatOp, ...]
    stage_seconds: tuple[tuple[str, float], ...]
    quantized: QuantizedModel | None = None
    fallbacks: "tuple[Fallback, ...]" = ()


class _Fallbacks:
    """Observes the pipeline: finds what the tensor engine leaves to the core, and why."""

    def __init__(self, *, wanted: bool) -> None:
        self.found: tuple[Fallback, ...] = ()
        self._wanted = wanted
        self._before: Graph | None = None

    def __call__(self, record: PassRecord, graph: Graph) -> None:
        if self._wanted:
            self._look(record, graph)

    def _look(self, record: PassRecord, graph: Graph) -> None:
        # Other targets do not wait for it to be imported.
        from lepton_cc.codegen.npu.placement import (  # noqa: PLC0415
            PlaceOnEngine,
            place_on_engine,
        )

        if record.name == PlaceOnEngine.NAME and self._before is not None:
            self.found = place_on_engine(self._before).fallbacks
        self._before = graph


class _FloatOps:
    """Observes the pipeline: finds what stayed float, right after the integers were raised."""

    def __init__(self, *, allowed: bool) -> None:
        self.found: tuple[FloatOp, ...] = ()
        self._allowed = allowed

    def __call__(self, record: PassRecord, graph: Graph) -> None:
        if record.name != RaiseIntegers.NAME:
            return
        self.found = float_ops(graph)
        if self.found and not self._allowed:
            raise Refused(float_op.diagnostic() for float_op in self.found)


class _PortScales:
    """Observes the pipeline: the scales of ports, right before they become integers."""

    def __init__(self, *, wanted: bool) -> None:
        self.found: dict[str, PortScale] = {}
        self._wanted = wanted

    def __call__(self, record: PassRecord, graph: Graph) -> None:
        if record.name == ExposeIntegers.NAME:
            self._wanted = False
        if self._wanted:
            self.found = port_scales(graph)


def model_name(source: ModelSource, given: str) -> str:
    """The symbol prefix: the given name, or one made from the file or the graph."""
    if given:
        return c_identifier(given)
    return c_identifier(source_name(source) or "model")


def compile_model(
    source: ModelSource,
    options: CompileOptions,
    *,
    graph: Graph | None = None,
    observers: Sequence[Observer] = (),
    progress: Progress = lambda stage: None,
) -> Compilation:
    """Imports, optimizes and lowers a model down to its program.

    `graph`: what to compile in the place of what the model imports to, a pruned one for example.

    Raises:
        Refused: the model, or something it wants, is not supported; all reasons at once.
    """
    seconds: list[tuple[str, float]] = []

    def begin(stage: str) -> None:
        progress(stage)
        seconds.append((stage, time.perf_counter()))

    begin("import")
    imported = graph or source_graph(
        source, dims=dict(options.dims), constants=dict(options.constants)
    )
    level = LEVELS[options.level]
    quantized: QuantizedModel | None = None
    if options.quantization is not None:
        begin("quantize")
        quantized = quantize(
            imported, options.quantization, observers, lambda words: progress(f"quantize: {words}")
        )
    if quantized is not None:
        imported, observers = quantized.graph, continued(observers)
    begin("passes")
    floats = _FloatOps(allowed=not options.require_integer)
    fallbacks = _Fallbacks(wanted=options.target.engine is not None)
    scales = _PortScales(wanted=options.integer_ports)
    manager = PassManager(
        level.pipeline(options.target, integer_ports=options.integer_ports),
        (*observers, floats, fallbacks, scales),
    )
    graph = manager.run(imported)
    begin("lower")
    name = model_name(source, options.name)
    program = assemble(
        graph,
        name,
        options.target,
        level.schedule,
        reorder=level.reorder,
        scales=scales.found,
        self_test=options.self_test,
        model_hash=bytes.fromhex(model_sha256(source)) if options.target.engine else b"",
    )
    begin("done")
    stages = tuple((s, b - a) for (s, a), (_, b) in itertools.pairwise(seconds))
    records = manager.records if quantized is None else (*quantized.passes, *manager.records)
    return Compilation(
        options,
        imported,
        graph,
        records,
        program,
        floats.found,
        stages,
        quantized,
        fallbacks.found,
    )
