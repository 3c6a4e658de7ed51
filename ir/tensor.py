"""Constant tensors: read-only arrays that compare and hash by content."""

import hashlib
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.types import TensorType

Array = NDArray[Any]


class Tensor:
    """An immutable constant: dtype, shape and content; equality and hash are by content.

    The array is made C-contiguous, little-endian and read-only, once, here. (A class rather than
    a dataclass because its hash is cached: weights are hashed in every comparison of graphs.)
    """

    def __init__(self, array: Array) -> None:
        contiguous = np.array(array, order="C", copy=True)
        contiguous.flags.writeable = False
        self._array = contiguous

    @property
    def array(self) -> Array:
        """The content, read-only."""
        return self._array

    @property
    def type(self) -> TensorType:
        """The tensor's type, without quantization."""
        return TensorType(DType.from_numpy(self._array.dtype), tuple(self._array.shape))

    @cached_property
    def digest(self) -> str:
        """A short name by content: 16 hexadecimal digits of BLAKE2b over dtype, shape and bytes."""
        content = hashlib.blake2b(digest_size=8)
        content.update(f"{self.type}:".encode())
        content.update(self._array.tobytes())
        return content.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tensor) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Tensor({self.type}, #{self.digest})"
