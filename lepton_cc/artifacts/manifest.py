"""The manifest of a build: what was compiled, with what, and all that running it again needs.

Written as `manifest.json`; holds no dates, paths or names of machines. `Build` is what a reader
gets back from a folder.
"""

import dataclasses
import enum
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from lepton_cc.artifacts.output_folder import FORMAT, MANIFEST, file_record
from lepton_cc.calibration.method import Method
from lepton_cc.calibration.quantize import QuantizationRecord
from lepton_cc.codegen.llvm.compile import llvm_version
from lepton_cc.codegen.program import Port
from lepton_cc.compiler import Compilation
from lepton_cc.ir.diagnostics import Code, Refused, refuse
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Value
from lepton_cc.ir.target import Engine, MemoryRegion, Target
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.quantize.weight_rounding import WeightScheme
from lepton_cc.report import LayerReport, MemoryReport, TensorFigure
from lepton_cc.version import __version__

VERSION = 1


@dataclass(frozen=True, slots=True)
class BuildInterface:
    """The model's ports, as its generated structs have them."""

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def input_values(self) -> tuple[Value, ...]:
        """The inputs as values of a graph, for checking arrays."""
        return tuple(Value(port.name, port.type) for port in self.inputs)


@dataclass(frozen=True, slots=True)
class Build:
    """What a folder of artifacts says about itself."""

    folder: Path
    model_sha256: str
    level: str
    dims: Mapping[str, int]
    profile: bool
    quantization: QuantizationRecord | None
    target: Target
    interface: BuildInterface
    memory: MemoryReport
    layers: tuple[LayerReport, ...]
    passes: tuple[Mapping[str, object], ...]
    files: tuple[str, ...]

    def content(self, name: str) -> bytes:
        """The bytes of one of the build's files."""
        return (self.folder / name).read_bytes()


def manifest_document(
    compilation: Compilation,
    model_sha256: str,
    memory: MemoryReport,
    layers: Sequence[LayerReport],
    emit: Sequence[str],
) -> dict[str, object]:
    """The manifest, but for the files' records."""
    options, program = compilation.options, compilation.program
    return {
        "format": FORMAT,
        "version": VERSION,
        "compiler": {"lepton-cc": __version__, "llvm": llvm_version()},
        "model": {"sha256": model_sha256},
        "options": {
            "level": options.level.value,
            "dims": dict(sorted(options.dims.items())),
            "constants": {
                name: hashlib.sha256(array.tobytes()).hexdigest()
                for name, array in sorted(options.constants.items())
            },
            "emit": list(emit),
            "profile": options.profile,
        },
        "quantization": quantization_fields(compilation),
        "target": target_fields(program.target),
        "interface": {
            "name": program.name,
            "inputs": [_port_fields(port) for port in program.inputs],
            "outputs": [_port_fields(port) for port in program.outputs],
        },
        "memory": dataclasses.asdict(memory),
        "layers": [dataclasses.asdict(layer) for layer in layers],
        "passes": pass_fields(compilation),
    }


def quantization_fields(compilation: Compilation) -> dict[str, object] | None:
    """What a float model was quantized with; None if it is as it was given."""
    if compilation.quantized is None:
        return None
    record = compilation.quantized.record
    return {
        "scheme": record.scheme.value,
        "method": record.method.value,
        "samples": record.num_samples,
        "data_sha256": record.data_sha256,
        "seed": record.seed,
        "activations": record.num_activations,
        "weights": record.num_weights,
        "output_scales": dict(record.output_scales),
    }


def _quantization(fields: Mapping[str, Any] | None) -> QuantizationRecord | None:
    if fields is None:
        return None
    return QuantizationRecord(
        WeightScheme(fields["scheme"]),
        Method(fields["method"]),
        int(fields["samples"]),
        str(fields["data_sha256"]),
        None if fields["seed"] is None else int(fields["seed"]),
        int(fields["activations"]),
        int(fields["weights"]),
        {name: float(scale) for name, scale in fields["output_scales"].items()},
    )


def pass_fields(compilation: Compilation) -> list[dict[str, object]]:
    """What each pass that changed the graph did, without times."""
    return [
        {
            "name": record.name,
            "num_ops_before": record.num_ops_before,
            "num_ops_after": record.num_ops_after,
            "rewrites": dict(record.rewrites),
        }
        for record in compilation.records
        if record.changed
    ]


def target_fields(target: Target) -> dict[str, object]:
    """A target as JSON."""
    fields = {field.name: getattr(target, field.name) for field in dataclasses.fields(target)}
    fields["regions"] = {region.name: region.size_bytes for region in target.regions}
    fields["engine"] = None if target.engine is None else _engine_fields(target.engine)
    return {
        name: value.value if isinstance(value, enum.Enum) else value
        for name, value in fields.items()
    }


def _engine_fields(engine: Engine) -> dict[str, object]:
    """A system of the user's goes by its file's name: folders differ between machines."""
    return {**dataclasses.asdict(engine), "system": Path(engine.system).name}


def _port_fields(port: Port) -> dict[str, object]:
    return {
        "name": port.name,
        "identifier": port.identifier,
        "dtype": port.type.dtype.value,
        "shape": list(port.type.dims),
        "size_bytes": port.type.size_bytes,
    }


def read_build(folder: Path) -> Build:
    """Reads a folder that a compilation wrote, and checks each file's hash.

    Raises:
        Refused: there is no manifest, or a file is missing or not the one that was written.
    """
    path = folder / MANIFEST
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT or document["version"] != VERSION:
            raise ValueError("another program or version wrote it")
        build = _build(folder, document)
        _check_files(folder, document["files"])
    except OSError as error:
        raise _no_build(folder, f"{Path(error.filename or path).name}: {error.strerror}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _no_build(folder, f"{MANIFEST}: {error}") from None
    return build


def _no_build(folder: Path, reason: str) -> Refused:
    return refuse(
        Code.MODEL_UNREADABLE,
        f"{folder} is no folder that lepton-cc wrote: {reason}",
        hint="compile the model again with -o",
    )


def _check_files(folder: Path, records: Mapping[str, object]) -> None:
    for name, record in records.items():
        if Path(name).name != name:
            raise ValueError(f"{name!r} is no file of the folder")
        if file_record((folder / name).read_bytes()) != record:
            raise ValueError(f"{name} has changed since it was written")


def _build(folder: Path, document: Mapping[str, Any]) -> Build:
    interface = document["interface"]
    memory = dict(document["memory"])
    memory["peak_tensors"] = tuple(TensorFigure(**t) for t in memory["peak_tensors"])
    return Build(
        folder=folder,
        model_sha256=str(document["model"]["sha256"]),
        level=str(document["options"]["level"]),
        dims={str(name): int(size) for name, size in document["options"]["dims"].items()},
        profile=bool(document["options"]["profile"]),
        quantization=_quantization(document.get("quantization")),
        target=_target(document["target"]),
        interface=BuildInterface(
            str(interface["name"]),
            tuple(_port(fields) for fields in interface["inputs"]),
            tuple(_port(fields) for fields in interface["outputs"]),
        ),
        memory=MemoryReport(**memory),
        layers=tuple(
            LayerReport(
                **{**row, "nodes": tuple(row["nodes"]), "shape": tuple(map(int, row["shape"]))}
            )
            for row in document["layers"]
        ),
        passes=tuple(document["passes"]),
        files=tuple(document["files"]),
    )


def _target(fields: Mapping[str, Any]) -> Target:
    values = dict(fields)
    for name, kind in get_type_hints(Target).items():
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            values[name] = kind(values[name])
    values["regions"] = tuple(MemoryRegion(n, int(s)) for n, s in values["regions"].items())
    values["notes"] = tuple(values["notes"])
    values["aliases"] = tuple(values["aliases"])
    engine = values.get("engine")
    values["engine"] = None if engine is None else Engine(**engine)
    return Target(**values)


def _port(fields: Mapping[str, Any]) -> Port:
    type_ = TensorType(DType(fields["dtype"]), tuple(int(dim) for dim in fields["shape"]))
    return Port(str(fields["name"]), str(fields["identifier"]), type_)
