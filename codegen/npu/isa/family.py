"""The family: what each member has, and the array modes that a packet can choose from."""

import enum
from dataclasses import dataclass


class Reduction(enum.IntEnum):
    """How the array walks the K = kernel height * kernel width * channels products of an output.

    FLATTENED: ceil(K / depth) steps. BY_TAP: for each tap ceil(channels / (4 depth)) slices of four
    steps. BY_TAP_GROUP: for each four taps ceil(channels / depth) slices of four steps. Members of
    the family are FLATTENED; the others describe the array of other engines, for comparisons.
    """

    FLATTENED = 0
    BY_TAP = 1
    BY_TAP_GROUP = 2


@dataclass(frozen=True, slots=True)
class ArrayMode:
    """Shape of the array: pixel rows x columns, output channels, depth of the reduction.

    A step does rows * columns * outputs * depth multiply-adds. With one pixel row, pixels are
    taken from the output in row-major order and go on over the ends of rows.
    """

    rows: int
    columns: int
    outputs: int
    depth: int
    reduction: Reduction = Reduction.FLATTENED

    @property
    def macs(self) -> int:
        """Multiply-adds of one step."""
        return self.rows * self.columns * self.outputs * self.depth

    def __str__(self) -> str:
        pixels = f"{self.rows}*{self.columns}" if self.rows > 1 else f"{self.columns}"
        return f"{pixels}x{self.outputs}x{self.depth}"


@dataclass(frozen=True, slots=True)
class DepthwiseMode:
    """Shape of the array for depthwise packets: pixel rows x columns, channels, taps.

    Pixels are taken as in `ArrayMode`. A step takes `cycles` (1 in the family).
    """

    rows: int
    columns: int
    channels: int
    taps: int
    cycles: int = 1

    def __str__(self) -> str:
        pixels = f"{self.rows}*{self.columns}" if self.rows > 1 else f"{self.columns}"
        return f"{pixels}x{self.channels}x{self.taps}"


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the family; sizes in bytes, rates per cycle."""

    macs: int
    lanes: int
    spm_bytes_per_cycle: int
    spm_bytes: int
    wbuf_bytes: int
    accumulators: int
    line_buffer_bytes: int
    decoder_weights: int
    modes: tuple[ArrayMode, ...]
    depthwise_modes: tuple[DepthwiseMode, ...]

    @property
    def name(self) -> str:
        """lepton-npu-256 and the like."""
        return f"lepton-npu-{self.macs}"


def _modes(*shapes: tuple[int, int, int]) -> tuple[ArrayMode, ...]:
    return tuple(ArrayMode(1, p, o, i) for p, o, i in shapes)


def _depthwise(*shapes: tuple[int, int, int]) -> tuple[DepthwiseMode, ...]:
    return tuple(DepthwiseMode(1, p, c, t) for p, c, t in shapes)


_KIB = 1024

FAMILY = (
    Member(
        macs=64,
        lanes=4,
        spm_bytes_per_cycle=8,
        spm_bytes=128 * _KIB,
        wbuf_bytes=8 * _KIB,
        accumulators=1024,
        line_buffer_bytes=4 * _KIB,
        decoder_weights=8,
        modes=_modes((1, 8, 8), (1, 4, 16), (1, 16, 4), (2, 8, 4), (2, 4, 8), (4, 4, 4), (4, 8, 2)),
        depthwise_modes=_depthwise((1, 4, 16), (4, 1, 16), (1, 8, 8), (2, 4, 8), (2, 8, 4)),
    ),
    Member(
        macs=128,
        lanes=8,
        spm_bytes_per_cycle=16,
        spm_bytes=256 * _KIB,
        wbuf_bytes=16 * _KIB,
        accumulators=2048,
        line_buffer_bytes=8 * _KIB,
        decoder_weights=16,
        modes=_modes(
            (1, 16, 8), (1, 8, 16), (1, 32, 4), (2, 8, 8), (2, 16, 4), (4, 8, 4), (8, 8, 2)
        ),
        depthwise_modes=_depthwise((1, 8, 16), (8, 1, 16), (2, 4, 16), (1, 16, 8), (2, 8, 8)),
    ),
    Member(
        macs=256,
        lanes=16,
        spm_bytes_per_cycle=32,
        spm_bytes=384 * _KIB,
        wbuf_bytes=32 * _KIB,
        accumulators=4096,
        line_buffer_bytes=16 * _KIB,
        decoder_weights=32,
        modes=_modes(
            (1, 16, 16), (1, 32, 8), (2, 16, 8), (2, 8, 16), (4, 16, 4), (4, 8, 8), (8, 8, 4)
        ),
        depthwise_modes=_depthwise((1, 16, 16), (2, 8, 16), (4, 4, 16), (1, 32, 8), (2, 16, 8)),
    ),
    Member(
        macs=1024,
        lanes=64,
        spm_bytes_per_cycle=128,
        spm_bytes=1024 * _KIB,
        wbuf_bytes=64 * _KIB,
        accumulators=16384,
        line_buffer_bytes=64 * _KIB,
        decoder_weights=128,
        modes=_modes(
            (2, 32, 16), (1, 32, 32), (4, 16, 16), (4, 32, 8), (8, 16, 8), (16, 16, 4), (1, 64, 16)
        ),
        depthwise_modes=_depthwise((1, 64, 16), (2, 32, 16), (4, 16, 16), (8, 8, 16), (4, 32, 8)),
    ),
)


def member(macs: int) -> Member:
    """The member with so many multiply-adds a cycle.

    Raises:
        KeyError: there is none.
    """
    for candidate in FAMILY:
        if candidate.macs == macs:
            return candidate
    raise KeyError(macs)
