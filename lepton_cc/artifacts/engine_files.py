"""The engine's files of a build, payload and report: written by `emit`, read by the tools."""

from lepton_cc.artifacts.manifest import Build
from lepton_cc.compiler import Compilation
from lepton_cc.engine_report.document import EngineReport, SegmentReport
from lepton_cc.ir.diagnostics import Code, Diagnostic, Refused, refuse

PAYLOAD_SUFFIX = ".lpt"
REPORT_SUFFIX = "_engine.json"


def engine_report(compilation: Compilation) -> EngineReport | None:
    """What the tensor engine does; None if the target has none."""
    if compilation.program.target.engine is None:
        return None
    # Other targets do not wait for it to be imported.
    from lepton_cc.engine_report.program_report import program_report  # noqa: PLC0415

    return program_report(compilation.program, compilation.fallbacks)


def engine_files(compilation: Compilation, report: EngineReport | None) -> dict[str, bytes]:
    """Name and content of each file; without segments there is no payload, but a report."""
    name, engine = compilation.program.name, compilation.program.engine
    files: dict[str, bytes] = {}
    if engine is not None:
        files[f"{name}{PAYLOAD_SUFFIX}"] = engine.payload
    if report is not None:
        files[f"{name}{REPORT_SUFFIX}"] = report.to_json().encode()
    return files


def check_scratchpad(report: EngineReport) -> None:
    """Refuses segments that need more scratchpad than there is, or than their budget.

    Raises:
        Refused: with what is needed, what there is, and which layer needs it.
    """
    there_is = report.machine.spm_bytes
    complaints = [
        Diagnostic(
            Code.DOES_NOT_FIT,
            f"segment {segment.number} needs {segment.spm_bytes} bytes of scratchpad, there are "
            f"{there_is}; most of it at {_peak(segment)}",
            hint=f"give it {segment.spm_bytes - there_is} bytes more, or choose a larger member",
        )
        for segment in report.segments
        if segment.spm_bytes > there_is
    ]
    if complaints:
        raise Refused(complaints)


def _peak(segment: SegmentReport) -> str:
    """The layer at whose first cycle most bytes live."""
    live = {
        buffer.layer: sum(
            other.size_bytes for other in segment.buffers if other.begin <= buffer.begin < other.end
        )
        for buffer in segment.buffers
    }
    most = max(live, key=lambda layer: live[layer], default=0)
    names = {
        layer.number: f"{layer.operation} ({' '.join(layer.nodes)})" for layer in segment.layers
    }
    return names.get(most, "its border")


def read_engine_report(build: Build) -> EngineReport | None:
    """The report of a build; None if its target has no engine.

    Raises:
        Refused: the file is no report of this version.
    """
    name = f"{build.interface.name}{REPORT_SUFFIX}"
    if name not in build.files:
        return None
    try:
        return EngineReport.from_json(build.content(name).decode())
    except ValueError as error:
        raise refuse(
            Code.MODEL_UNREADABLE,
            f"{build.folder / name}: {error}",
            hint="compile the model again with -o",
        ) from error


def read_payload_file(build: Build) -> bytes:
    """The payload of a build, empty if it has none."""
    name = f"{build.interface.name}{PAYLOAD_SUFFIX}"
    return build.content(name) if name in build.files else b""
