"""`.lir` files: a graph's text, and beside it an archive of the constants that are too big for it.

The first line of the text names the archive: `constants "model.constants.npz"`. The archive is an
ordinary `.npz` of uncompressed arrays named by digest (types that NumPy lacks as unsigned
integers), written byte for byte the same each time. Reading unpickles nothing and allocates no
more than the file's own size. Files appear by an atomic rename.
"""

import io
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lepton_cc.ir.diagnostics import Code, Refused, refuse
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.parser import parse_graph
from lepton_cc.ir.printer import printed
from lepton_cc.ir.tensor import Array, Tensor

_HEADER = re.compile(r'\s*constants ("(?:[^"\\\n]|\\.)*")[ \t]*(?:\n|$)')
_MAX_HEADER_BYTES = 4096


def write_lir(graph: Graph, path: Path, archive: Path | None = None) -> None:
    """Writes the graph to `path`, and its big constants to `archive`.

    The archive's default name is `path` with `.constants.npz` for its suffix, so that data called
    `model.npz` survives beside `model.lir`. It holds this graph's constants alone; one that several
    graphs share is written by `write_archive`.
    """
    result = printed(graph)
    if result.constants:
        archive = archive or path.with_suffix(".constants.npz")
        write_archive(result.constants, archive)
    write_text(result.text, path, archive if result.constants else None)


def write_text(text: str, path: Path, archive: Path | None) -> None:
    """Writes a graph's text, with the line that names its archive (in the same folder)."""
    header = f"constants {json.dumps(archive.name)}\n\n" if archive is not None else ""
    write_atomically(f"{header}{text}".encode(), path)


def write_archive(constants: Mapping[str, Tensor], path: Path) -> None:
    """Writes constants by digest, sorted, with fixed dates."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for digest in sorted(constants):
            entry = io.BytesIO()
            np.lib.format.write_array(
                entry, _storable(constants[digest].array), (1, 0), allow_pickle=False
            )
            info = zipfile.ZipInfo(f"{digest}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(info, entry.getvalue())
    write_atomically(buffer.getvalue(), path)


def _storable(array: Array) -> Array:
    if array.dtype.kind in "biuf":
        return array
    return array.view(np.dtype(f"u{array.dtype.itemsize}"))


def write_atomically(content: bytes, path: Path) -> None:
    """Writes a file that is either there whole or not at all.

    Raises:
        OSError: it cannot be written; the error names it.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


def read_lir(path: Path) -> Graph:
    """The graph in a `.lir` file.

    Raises:
        Refused: the file or its archive cannot be read, or is malformed.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise refuse(Code.INVALID_IR_TEXT, f"cannot read {path}: {error}") from None
    header = _HEADER.match(text)
    constants: Mapping[str, Array] = {}
    if header is not None:
        constants = read_archive(_beside(path, header[1]))
        # Blanks keep the positions in error messages right.
        text = re.sub(r"[^\n]", " ", header[0]) + text[header.end() :]
    return parse_graph(text, constants, str(path))


def _beside(path: Path, quoted: str) -> Path:
    try:
        name = json.loads(quoted)
    except ValueError:
        name = ""
    if not name or name in (".", "..") or re.search(r"[/\\\0:]", name):
        raise refuse(
            Code.INVALID_IR_TEXT,
            f"{path}, line 1: {quoted} is no file beside it",
            hint="name the archive of constants without a folder",
        )
    return path.with_name(name)


def read_archive(path: Path) -> Mapping[str, Array]:
    """The arrays of an archive, by digest, as they are stored.

    Raises:
        Refused: the file cannot be read or is no archive that `write_archive` writes.
    """
    try:
        content = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {
                info.filename.removesuffix(".npy"): _read_entry(archive, info, path)
                for info in archive.infolist()
            }
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
        raise refuse(Code.INVALID_IR_TEXT, f"cannot read constants of {path}: {error}") from None


def _read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> Array:
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise _malformed(path, info, "is compressed or encrypted")
    content = archive.read(info)
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise _malformed(path, info, "is no array of format 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(
        stream, max_header_size=_MAX_HEADER_BYTES
    )
    if fortran or dtype.kind not in "biuf" or not dtype.isnative or min(shape, default=0) < 0:
        raise _malformed(path, info, "has a layout or a type that is never written")
    flat = np.frombuffer(content, dtype, offset=stream.tell())
    return flat.reshape(shape)


def _malformed(path: Path, info: zipfile.ZipInfo, problem: str) -> Refused:
    return refuse(Code.INVALID_IR_TEXT, f"{path}: entry {info.filename!r} {problem}")
