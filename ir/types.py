"""Static types of values: element type, shape, and quantization as part of the type."""

import math
from dataclasses import dataclass

from lepton_cc.ir.dtype import DType


@dataclass(frozen=True, slots=True)
class SymbolicDim:
    """A dimension that the model leaves open, by its ONNX name, until `--dim` binds it."""

    name: str

    def __str__(self) -> str:
        return f"?{self.name}"


Dim = int | SymbolicDim


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the integers of a tensor stand for reals: real = scale * (integer - zero_point).

    `scales` and `zero_points` hold one entry (per tensor) or one for each index of `axis`.
    Scales are binary32 values, kept as Python floats that represent them exactly.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int | None = None


@dataclass(frozen=True, slots=True)
class TensorType:
    """The type of a value: dtype, shape and, for integers that stand for reals, quantization."""

    dtype: DType
    shape: tuple[Dim, ...]
    quantization: Quantization | None = None

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def is_static(self) -> bool:
        """True if no dimension is open."""
        return all(isinstance(dim, int) for dim in self.shape)

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape as integers.

        Raises:
            ValueError: a dimension is open.
        """
        dims = tuple(dim for dim in self.shape if isinstance(dim, int))
        if len(dims) != len(self.shape):
            raise ValueError(f"{self} has an open dimension")
        return dims

    @property
    def num_elements(self) -> int:
        """Number of elements (1 for a scalar); the shape must be static."""
        return math.prod(self.dims)

    @property
    def size_bytes(self) -> int:
        """Bytes of a dense buffer of this type; the shape must be static."""
        return self.num_elements * self.dtype.size_bytes

    def with_shape(self, shape: tuple[Dim, ...]) -> "TensorType":
        """The same element type with another shape (a per-axis quantization is kept as it is)."""
        return TensorType(self.dtype, shape, self.quantization)

    def with_dtype(self, dtype: DType) -> "TensorType":
        """The same shape with another element type and no quantization."""
        return TensorType(dtype, self.shape)

    def __str__(self) -> str:
        return f"{self.dtype.value}[{', '.join(str(dim) for dim in self.shape)}]"
