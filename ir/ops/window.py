"""Sliding windows: the geometry that convolutions and pools share, in N spatial dimensions."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.tensor import Array

Slices = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """Kernel size, stride, dilation and padding for each spatial dimension (all of one length).

    Padding `low` and `high` is explicit (automatic and ceiling modes are resolved in the frontend).
    """

    size: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]

    @property
    def rank(self) -> int:
        """Number of spatial dimensions."""
        return len(self.size)

    def output_dims(self, dims: tuple[int, ...]) -> tuple[int, ...]:
        """Spatial output size: floor((in + low + high - ((size - 1) * dilation + 1)) / stride) + 1.

        Raises:
            TypeInferenceError: ranks differ, a parameter is out of range or the window is larger
                than the padded input.
        """
        fields = (self.size, self.strides, self.dilations, self.low, self.high)
        if any(len(values) != len(dims) for values in fields):
            raise TypeInferenceError(f"window of rank {self.rank} over {len(dims)} dimensions")
        if min(self.size + self.strides + self.dilations, default=1) < 1:
            raise TypeInferenceError("window sizes, strides and dilations must be positive")
        spans = [(k - 1) * d + 1 for k, d in zip(self.size, self.dilations, strict=True)]
        padded = [
            dim + low + high for dim, low, high in zip(dims, self.low, self.high, strict=True)
        ]
        if any(total < span for total, span in zip(padded, spans, strict=True)):
            raise TypeInferenceError(f"window {self.size} is larger than the padded input {padded}")
        return tuple(
            (p - s) // stride + 1 for p, s, stride in zip(padded, spans, self.strides, strict=True)
        )

    def taps(self, x: Array, fill: float) -> Iterator[tuple[tuple[int, ...], Array]]:
        """For each kernel position: its index, and the view [N, *out, C] of x that it multiplies.

        x is [N, *S, C]; padding reads `fill`.
        """
        out = self.output_dims(tuple(x.shape[1:-1]))
        padded = self.padded(x, fill)
        for position, steps in self.steps(out):
            yield position, padded[steps]

    def padded(self, x: Array, fill: float) -> Array:
        """x [N, *S, C] with `fill` around it, or cut where a margin is negative."""
        dims = tuple(x.shape[1:-1])
        padded = np.full((len(x), *self.padded_dims(dims), x.shape[-1]), fill, dtype=x.dtype)
        inner, crop = self.overlap(dims)
        padded[inner] = x[crop]
        return padded

    def padded_dims(self, dims: tuple[int, ...]) -> tuple[int, ...]:
        """S with both margins."""
        return tuple(
            low + dim + high for low, dim, high in zip(self.low, dims, self.high, strict=True)
        )

    def overlap(self, dims: tuple[int, ...]) -> tuple[Slices, Slices]:
        """Where the padded [N, *S, C] holds elements of x, and which of x these are."""
        margins = tuple(zip(self.low, dims, self.high, strict=True))
        inner = (slice(max(low, 0), low + dim + min(high, 0)) for low, dim, high in margins)
        crop = (slice(max(-low, 0), dim + min(high, 0)) for low, dim, high in margins)
        return (slice(None), *inner), (slice(None), *crop)

    def steps(self, out: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Slices]]:
        """For each kernel position: its index, and what it multiplies of the padded [N, *S, C]."""
        for position in np.ndindex(*self.size):
            steps = (
                slice(p * d, p * d + (n - 1) * s + 1, s)
                for p, d, n, s in zip(position, self.dilations, out, self.strides, strict=True)
            )
            yield position, (slice(None), *steps)
