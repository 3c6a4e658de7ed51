"""The order of the weights in a slice: as the array takes them, so that a decoder never seeks."""

import numpy as np
import numpy.typing as npt

Weights = npt.NDArray[np.int8]


def four_axes(weights: Weights) -> Weights:
    """`[K_h, K_w, C, O]`; depthwise weights `[K_h, K_w, C]` have one input channel."""
    return weights[:, :, None, :] if weights.ndim == 3 else weights


def arrange(weights: Weights, tile: int, groups: int) -> Weights:
    """The weights `[K_h, K_w, C, O]` or `[K_h, K_w, C]` in the order of a slice, one axis.

    Groups one after the other, in each its outputs in tiles of `tile`, the last as wide as what
    is left; in a tile by kernel row, kernel column, input channel, output.
    """
    full = four_axes(weights)
    outputs = full.shape[3] // groups
    tiles, rest = divmod(outputs, tile)
    taps = full.shape[0] * full.shape[1] * full.shape[2]
    by_group = full.reshape(taps, groups, outputs)
    whole = by_group[:, :, : tiles * tile].reshape(taps, groups, tiles, tile)
    parts = (
        whole.transpose(1, 2, 0, 3).reshape(groups, tiles * taps * tile),
        by_group[:, :, tiles * tile :].transpose(1, 0, 2).reshape(groups, taps * rest),
    )
    return np.concatenate(parts, axis=1).reshape(-1)


def restore(stream: Weights, shape: tuple[int, ...], tile: int, groups: int) -> Weights:
    """The weights of that shape whose `arrange` is `stream`."""
    full = shape if len(shape) == 4 else (*shape[:2], 1, shape[2])
    outputs = full[3] // groups
    tiles, rest = divmod(outputs, tile)
    taps = full[0] * full[1] * full[2]
    by_group = stream.reshape(groups, taps * outputs)
    split = tiles * taps * tile
    whole = by_group[:, :split].reshape(groups, tiles, taps, tile).transpose(2, 0, 1, 3)
    last = by_group[:, split:].reshape(groups, taps, rest).transpose(1, 0, 2)
    parts = (whole.reshape(taps, groups, tiles * tile), last)
    return np.ascontiguousarray(np.concatenate(parts, axis=2).reshape(shape))
