"""What can be compiled, a file or a message in memory, and what is asked of it before importing."""

import hashlib
import os
from pathlib import Path

import onnx

from lepton_cc.frontend.importer import read_model

ModelSource = Path | onnx.ModelProto
AnyModel = str | os.PathLike[str] | onnx.ModelProto


def model_source(model: AnyModel) -> ModelSource:
    """The source that a user means: what is no message is a path."""
    return model if isinstance(model, onnx.ModelProto) else Path(model)


def source_name(source: ModelSource) -> str:
    """The file's name without its suffix, or the graph's."""
    return source.stem if isinstance(source, Path) else source.graph.name


def model_sha256(source: ModelSource) -> str:
    """The hash of a model's bytes, without those of its external data.

    Raises:
        Refused: the file cannot be read as a model.
    """
    if isinstance(source, Path):
        read_model(source)
        return hashlib.sha256(source.read_bytes()).hexdigest()
    return hashlib.sha256(source.SerializeToString(deterministic=True)).hexdigest()


def loadable(source: ModelSource) -> str | bytes:
    """A path or the message's bytes, as other libraries load models."""
    return str(source) if isinstance(source, Path) else source.SerializeToString()
