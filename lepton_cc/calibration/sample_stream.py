"""Calibration samples one after the other, from an `.npz` on disk or from arrays in memory.

Of a file only one sample is in memory at a time; it may be read as often as one likes.
"""

import hashlib
import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, cast

import numpy as np

from lepton_cc.ir.diagnostics import Code, refuse
from lepton_cc.ir.tensor import Array

_SUFFIX = ".npy"


class Stack(Protocol):
    """An array with the samples along its first axis, of which one is read at a time."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The element type."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, the number of samples first."""

    def rows(self, count: int) -> Iterator[Array]:
        """The content in `count` equal parts, in order, each flat."""

    def digest(self) -> bytes:
        """A hash of dtype, shape and content."""


@dataclass(frozen=True, slots=True)
class MemoryStack:
    """An array that is in memory already."""

    array: Array

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return cast("np.dtype[np.generic]", self.array.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    def rows(self, count: int) -> Iterator[Array]:
        yield from np.ascontiguousarray(self.array).reshape(count, -1)

    def digest(self) -> bytes:
        found = _begun_digest(self.dtype, self.shape)
        for row in self.rows(self.shape[0] if self.array.ndim and self.array.size else 1):
            found.update(row.tobytes())
        return found.digest()


@dataclass(frozen=True, slots=True)
class FileStack:
    """A member of an `.npz`, in C order."""

    path: Path
    member: str
    element_type: np.dtype[np.generic]
    dims: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self.element_type

    @property
    def shape(self) -> tuple[int, ...]:
        return self.dims

    @property
    def _num_elements(self) -> int:
        return math.prod(self.dims)

    def rows(self, count: int) -> Iterator[Array]:
        size = self._num_elements // count * self.element_type.itemsize
        with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as stream:
            _read_header(stream)
            for _ in range(count):
                content = stream.read(size)
                if len(content) != size:
                    raise _unreadable(self.path, f"{self.member} is cut short")
                yield np.frombuffer(content, self.element_type)

    def digest(self) -> bytes:
        found = _begun_digest(self.dtype, self.shape)
        for row in self.rows(self.dims[0] if self.dims and self._num_elements else 1):
            found.update(row.tobytes())
        return found.digest()


def _begun_digest(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> "hashlib._Hash":
    return hashlib.sha256(f"{dtype.newbyteorder('=').str[1:]}{list(shape)}:".encode())


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Shape, whether in Fortran order, and dtype."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        shape, is_fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    return tuple(int(dim) for dim in shape), is_fortran, dtype


def _unreadable(path: Path, reason: object) -> Exception:
    return refuse(
        Code.BAD_CALIBRATION_DATA,
        f"cannot read {path}: {reason}",
        hint="write it with numpy.savez: an array for each input, samples along the first axis",
    )


def file_stacks(path: Path) -> dict[str, Stack]:
    """The arrays of an `.npz`, none of them loaded.

    Raises:
        Refused: it is no `.npz`, or holds Python objects.
    """
    found: dict[str, Stack] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                with archive.open(member) as stream:
                    shape, is_fortran, dtype = _read_header(stream)
                name = member.removesuffix(_SUFFIX)
                if dtype.hasobject:
                    raise ValueError(f"{name} holds Python objects")
                if is_fortran or not dtype.isnative:
                    with np.load(path, allow_pickle=False) as arrays:
                        native = arrays[name].astype(dtype.newbyteorder("="))
                    found[name] = MemoryStack(np.ascontiguousarray(native))
                else:
                    found[name] = FileStack(path, member, dtype, shape)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error
    return found


def array_stacks(arrays: Mapping[str, Array]) -> dict[str, Stack]:
    """Arrays in memory."""
    return {name: MemoryStack(np.asarray(array)) for name, array in arrays.items()}
