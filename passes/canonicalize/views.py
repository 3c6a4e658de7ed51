"""Laws of one-operand movement: reshape, transpose, slice, gather by constants."""

import numpy as np

from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.ops.movement import Concat, Gather, Reshape, Slice, Transpose
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, kind_of, rule, same_type


@rule("reshape(x, shape of x) = x", Reshape)
def reshape_to_same_shape(op: Op, rewriter: Rewriter) -> Replacement:
    return same_type(op, op.inputs[0])


@rule("reshape(reshape(x, a), b) = reshape(x, b)", Reshape)
def merge_reshapes(op: Op, rewriter: Rewriter) -> Replacement:
    inner = rewriter.match(op.inputs[0], Reshape)
    return None if inner is None else (rewriter.emit(op.kind, inner[1].inputs[0]),)


@rule("transpose(x, identity) = x", Transpose)
def transpose_by_nothing(op: Op, rewriter: Rewriter) -> Replacement:
    permutation = kind_of(op, Transpose).permutation
    return same_type(op, op.inputs[0]) if permutation == tuple(sorted(permutation)) else None


@rule("transpose(transpose(x, p), q) = transpose(x, p of q)", Transpose)
def merge_transposes(op: Op, rewriter: Rewriter) -> Replacement:
    found = rewriter.match(op.inputs[0], Transpose)
    if found is None:
        return None
    inner, producer = found
    permutation = tuple(inner.permutation[axis] for axis in kind_of(op, Transpose).permutation)
    return (rewriter.emit(Transpose(permutation), producer.inputs[0]),)


@rule("transpose(x, p) = reshape(x) where p moves only dimensions of size 1", Transpose)
def transpose_of_units(op: Op, rewriter: Rewriter) -> Replacement:
    (x,) = op.inputs
    moved = [axis for axis in kind_of(op, Transpose).permutation if x.type.dims[axis] != 1]
    if moved != sorted(moved):
        return None
    return same_type(op, rewriter.emit(Reshape(op.result.type.dims), x))


@rule("slice(x, all of x) = x", Slice)
def slice_of_everything(op: Op, rewriter: Rewriter) -> Replacement:
    kind = kind_of(op, Slice)
    forward = all(step == 1 or size <= 1 for step, size in zip(kind.steps, kind.sizes, strict=True))
    return same_type(op, op.inputs[0]) if forward else None


@rule("slice(slice(x, a), b) = slice(x, b of a)", Slice)
def merge_slices(op: Op, rewriter: Rewriter) -> Replacement:
    outer = kind_of(op, Slice)
    found = rewriter.match(op.inputs[0], Slice)
    if found is None or 0 in outer.sizes:
        return None
    inner, producer = found
    starts = tuple(
        start + step * offset
        for start, step, offset in zip(inner.starts, inner.steps, outer.starts, strict=True)
    )
    steps = tuple(a * b for a, b in zip(inner.steps, outer.steps, strict=True))
    return (rewriter.emit(Slice(starts, outer.sizes, steps), producer.inputs[0]),)


@rule("slice(concat(x, y), part of y) = slice(y)", Slice)
def slice_of_concat(op: Op, rewriter: Rewriter) -> Replacement:
    kind = kind_of(op, Slice)
    found = rewriter.match(op.inputs[0], Concat)
    if found is None or 0 in kind.sizes:
        return None
    axis, parts = found[0].axis, found[1].inputs
    ends = (kind.starts[axis], kind.starts[axis] + (kind.sizes[axis] - 1) * kind.steps[axis])
    offset = 0
    for part in parts:
        size = part.type.dims[axis]
        if offset <= min(ends) and max(ends) < offset + size:
            starts = (*kind.starts[:axis], ends[0] - offset, *kind.starts[axis + 1 :])
            return same_type(op, rewriter.emit(Slice(starts, kind.sizes, kind.steps), part))
        offset += size
    return None


@rule("gather(x, start + i * step) = slice(x)", Gather)
def gather_of_progression(op: Op, rewriter: Rewriter) -> Replacement:
    """Constant indices, made positive and clamped as the op defines; one index is a progression."""
    axis = kind_of(op, Gather).axis
    x = op.inputs[0]
    indices = rewriter.constant_array(op.inputs[1])
    dim = x.type.dims[axis]
    if indices is None or indices.size == 0 or dim == 0:
        return None
    flat = indices.astype(np.int64).reshape(-1)
    positions = np.clip(np.where(flat < 0, flat + dim, flat), 0, dim - 1)
    step = int(positions[1] - positions[0]) if flat.size > 1 else 1
    if step == 0 or np.any(np.diff(positions) != step):
        return None
    part = _slice_axis(rewriter, x, axis, (int(positions[0]), flat.size, step))
    return same_type(op, rewriter.emit(Reshape(op.result.type.dims), part))


def _slice_axis(rewriter: Rewriter, x: Value, axis: int, part: tuple[int, int, int]) -> Value:
    dims = x.type.dims
    whole = [(0, dim, 1) for dim in dims]
    whole[axis] = part
    starts, sizes, steps = zip(*whole, strict=True)
    return rewriter.emit(Slice(starts, sizes, steps), x)


RULES: tuple[Rule, ...] = (
    reshape_to_same_shape,
    merge_reshapes,
    transpose_by_nothing,
    merge_transposes,
    slice_of_everything,
    merge_slices,
    slice_of_concat,
    gather_of_progression,
)
