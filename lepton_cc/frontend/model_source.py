"""What can be compiled, a file or a message in memory, and what is asked of it before importing."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import onnx

from lepton_cc.frontend.importer import import_model, read_model
from lepton_cc.ir.diagnostics import Code, UsageError, refuse
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.lir_file import read_lir
from lepton_cc.ir.tensor import Array

_GRAPH_SUFFIX = ".lir"

ModelSource = Path | onnx.ModelProto
AnyModel = str | os.PathLike[str] | onnx.ModelProto


def model_source(model: AnyModel) -> ModelSource:
    """The source that a user means: what is no message is a path."""
    return model if isinstance(model, onnx.ModelProto) else Path(model)


def is_graph(source: ModelSource) -> bool:
    """True of a `.lir` file, which holds a graph as `lepton compress` and `opt` write it."""
    return isinstance(source, Path) and source.suffix == _GRAPH_SUFFIX


def source_graph(
    source: ModelSource,
    *,
    dims: Mapping[str, int] | None = None,
    constants: Mapping[str, Array] | None = None,
) -> Graph:
    """The graph in a `.lir` file, or what `import_model` makes of an ONNX model.

    Raises:
        Refused: the file cannot be read, or what the model uses is not supported.
        UsageError: a graph is to be given dimensions or constants, which it has.
    """
    if isinstance(source, Path) and is_graph(source):
        if dims or constants:
            raise UsageError(f"{source} is a graph: dimensions are bound when a model is imported")
        return read_lir(source)
    return import_model(source, dims=dims, constants=constants)


def source_name(source: ModelSource) -> str:
    """The file's name without its suffix, or the graph's."""
    return source.stem if isinstance(source, Path) else source.graph.name


def model_sha256(source: ModelSource) -> str:
    """The hash of a file's bytes, without those of external data; a graph names its own by hash.

    Raises:
        Refused: the file cannot be read as a model.
    """
    if isinstance(source, Path):
        if not is_graph(source):
            read_model(source)
        return hashlib.sha256(source.read_bytes()).hexdigest()
    return hashlib.sha256(source.SerializeToString(deterministic=True)).hexdigest()


def loadable(source: ModelSource) -> str | bytes:
    """A path or the message's bytes, as other libraries load models.

    Raises:
        Refused: it is a graph, which only we can read.
    """
    if is_graph(source):
        raise refuse(
            Code.TOOL_FAILED,
            f"ONNX Runtime cannot run the graph {str(source)!r}",
            hint="give the ONNX model instead",
        )
    return str(source) if isinstance(source, Path) else source.SerializeToString()
