"""External data: tensors whose bytes lie in files beside the model, and nowhere else."""

import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx

from lepton_cc.frontend.limits import MAX_EXTERNAL_BYTES
from lepton_cc.frontend.refusal import NodeRefusal
from lepton_cc.frontend.tensors import array_from_bytes, checked_dims, element_type, tensor_array
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.tensor import Array


def _refused(reason: str, hint: str = "", code: Code = Code.EXTERNAL_DATA) -> NodeRefusal:
    return NodeRefusal(reason, hint, code)


class ExternalData:
    """Reads tensors, from files inside the model's folder if they are stored there.

    `folder` is None for a model that came without a file: then external data is refused. Counts
    what was read, against the limit.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder.resolve()
        self._bytes_read = 0

    def tensor_array(self, proto: onnx.TensorProto) -> Array:
        """The content of an initializer, wherever it is stored.

        Raises:
            NodeRefusal: the tensor is malformed, or its file cannot or must not be read.
        """
        if proto.data_location != onnx.TensorProto.EXTERNAL:
            return tensor_array(proto)
        if proto.HasField("raw_data"):
            raise _refused("has both raw and external data", code=Code.MODEL_MALFORMED)
        dtype, dims = element_type(proto.data_type), checked_dims(proto.dims)
        return array_from_bytes(self._read(proto), dtype, dims, proto.name)

    def _read(self, proto: onnx.TensorProto) -> bytes:
        entries = {entry.key: entry.value for entry in proto.external_data}
        path = self._path(entries.get("location", ""))
        offset = _natural(entries, "offset") or 0
        length = _natural(entries, "length")
        try:
            # Not blocking: a named pipe in the folder must not hang the compiler.
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        except (OSError, ValueError) as error:
            raise _refused(f"external data file {path.name!r} cannot be read: {error}") from None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise _refused(f"external data {path.name!r} is not a regular file")
        with os.fdopen(descriptor, "rb") as file:
            if length is None:
                length = max(0, status.st_size - offset)
            if offset + length > status.st_size:
                raise _refused(
                    f"external data {path.name!r} ends at {status.st_size}, the tensor needs bytes"
                    f" {offset} to {offset + length}",
                    "the file is truncated, or belongs to another model",
                )
            self._bytes_read += length
            if self._bytes_read > MAX_EXTERNAL_BYTES:
                limit = f"external data exceeds {MAX_EXTERNAL_BYTES >> 20} MiB"
                raise _refused(limit, code=Code.LIMIT_EXCEEDED)
            file.seek(offset)
            return file.read(length)

    def _path(self, location: str) -> Path:
        if self._folder is None:
            raise _refused(
                "has external data, but the model came without a file",
                "give the path of the model, or load its external data first",
            )
        parts = {*PurePosixPath(location).parts, *PureWindowsPath(location).parts}
        anchored = PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor
        if not location or "\0" in location or anchored or ".." in parts:
            raise _refused(f"external data location {location!r} is not inside the model's folder")
        try:
            path = (self._folder / location).resolve()
        except (OSError, RuntimeError):
            raise _refused(f"external data location {location!r} does not resolve") from None
        if not path.is_relative_to(self._folder):
            raise _refused(f"external data location {location!r} leaves the model's folder")
        return path


def _natural(entries: dict[str, str], key: str) -> int | None:
    text = entries.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise _refused(f"external data {key} {text!r} is no natural number")
    return int(text)
