"""Functions of one 8-bit tensor become tables of their 256 values, or something cheaper.

The table is made by running the float ops themselves, as the interpreter defines them, on all
integers; it is then seen whether a clamp or a requantization gives the same 256 values.
"""

import math

import numpy as np

from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.op_kind import OpKind, Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.elementwise import Clamp
from lepton_cc.ir.ops.fused import Fused
from lepton_cc.ir.ops.integer import Range, Requantize, Table
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, rule
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.passes.quantize.parameters import narrow, quantized
from lepton_cc.passes.quantize.signed import as_unsigned

BYTES = (DType.I8, DType.U8)
# Longer chains are no activation functions.
_MAX_OPS = 64


def _is_pointwise(op: Op) -> bool:
    return Trait.POINTWISE in op.kind.traits and not isinstance(op.kind, Fused)


def source_of_chain(
    rewriter: Rewriter, value: Value, sources: tuple[DType, ...] = BYTES
) -> Value | None:
    """The 8-bit tensor that `value` is a pointwise function of, constants apart; else None.

    Or that of another of the types `sources`.
    """
    leaves: dict[Value, None] = {}
    seen: set[Value] = set()
    pending = [value]
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        op = rewriter.producer(current)
        if current.type.dtype in sources and (op is None or not isinstance(op.kind, Constant)):
            leaves[current] = None
        elif op is None or len(seen) > _MAX_OPS:
            return None
        elif isinstance(op.kind, Constant):
            if op.result.type.num_elements != 1:
                return None
        elif _is_pointwise(op):
            pending += op.inputs
        else:
            return None
    roots = dict.fromkeys(_root(rewriter, leaf, several=len(leaves) > 1) for leaf in leaves)
    return next(iter(roots)) if len(roots) == 1 else None


def _root(rewriter: Rewriter, leaf: Value, *, several: bool) -> Value:
    """What a chain of 8-bit functions started from, where leaves must meet."""
    op = rewriter.producer(leaf)
    while several and op is not None and isinstance(op.kind, Clamp | Table):
        if op.inputs[0].type.dtype not in BYTES:
            break
        leaf = op.inputs[0]
        op = rewriter.producer(leaf)
    return leaf


def chain_results(rewriter: Rewriter, value: Value, known: dict[Value, Array]) -> Array:
    """The value as a function of what is known, element by element; the result names its nodes."""
    if value not in known:
        op = rewriter.producer(value)
        assert op is not None
        if isinstance(op.kind, Constant):
            known[value] = op.kind.value.array.reshape(())
        else:
            if not isinstance(op.kind, Dequantize):
                rewriter.match(value, OpKind)
            operands = [
                None if v is None else chain_results(rewriter, v, known) for v in op.operands
            ]
            with np.errstate(all="ignore"):
                (known[value],) = op.kind.evaluate(operands)
    return known[value]


def _result(rewriter: Rewriter, value: Value | None, known: dict[Value, Array]) -> Array | None:
    return None if value is None else chain_results(rewriter, value, known)


def integers_of(dtype: DType) -> Array:
    """All integers of a type of at most 16 bits, in order."""
    low, high = integer_bounds(dtype)
    return np.arange(low, high + 1).astype(dtype.numpy)


def values_of_chain(
    rewriter: Rewriter, op: Op, sources: tuple[DType, ...] = BYTES
) -> tuple[Value, Array, Array] | None:
    """What a Quantize is a function of; the reals and its results for each integer, in order."""
    constants = [rewriter.constant_array(v) for v in op.operands[1:] if v is not None]
    if any(array is None or array.size != 1 for array in constants):
        return None
    source = source_of_chain(rewriter, op.inputs[0], sources)
    if source is None or source.type.shape != op.result.type.shape:
        return None
    integers = integers_of(source.type.dtype)
    reals = chain_results(rewriter, op.inputs[0], {source: integers})
    scalars = [_result(rewriter, v, {}) for v in op.operands[1:]]
    (values,) = op.kind.evaluate((reals, *scalars))
    return (source, reals, np.asarray(values)) if values.shape == integers.shape else None


@rule("quantize(f(dequantize(x))) = table(x)", Quantize)
def tabulate(op: Op, rewriter: Rewriter) -> Replacement:
    """Any chain or tree of pointwise ops; its constants are scalars."""
    found = values_of_chain(rewriter, op)
    if found is None:
        return None
    source, _, quantities = found
    if op.result.type.dtype is DType.I8:
        return (_cheapest(rewriter, op, source, quantities),)
    if op.result.type.dtype is not DType.U8:
        return (rewriter.emit(Table(Tensor(quantities)), source),)
    signed = (quantities.astype(np.int16) - 128).astype(np.int8)
    return (as_unsigned(rewriter, _cheapest(rewriter, op, source, signed)),)


def _cheapest(rewriter: Rewriter, op: Op, source: Value, entries: Array) -> Value:
    """An op with this table of i8 results: none, a clamp, a requantization, or a table."""
    dtype = source.type.dtype
    if dtype is DType.I8:
        if np.array_equal(entries, integers_of(dtype)):
            return source
        low, high = int(entries.min()), int(entries.max())
        if np.array_equal(entries, np.clip(integers_of(dtype), low, high)):
            return rewriter.emit(_clamp(dtype, low, high), source)
    return _requantized(rewriter, op, source, entries) or rewriter.emit(
        Table(Tensor(entries)), source
    )


def _clamp(dtype: DType, low: int, high: int) -> Clamp:
    lowest, highest = integer_bounds(dtype)
    return Clamp(
        float(low) if low > lowest else -math.inf, float(high) if high < highest else math.inf
    )


def _requantized(rewriter: Rewriter, op: Op, source: Value, entries: Array) -> Value | None:
    """The requantization between the chain's first scale and its last, if the table is its."""
    by = quantized(rewriter, op)
    first = op.inputs[0]
    producer = rewriter.producer(first)
    while producer is not None and isinstance(producer.kind, Clamp):
        first = producer.inputs[0]
        producer = rewriter.producer(first)
    if by is None or producer is None or not isinstance(producer.kind, Dequantize):
        return None
    found = narrow(rewriter, first)
    if found is None or found.x != source:
        return None
    zero_point = by.range.zero_point - (128 if by.range.dtype is DType.U8 else 0)
    bounds = Range(DType.I8, zero_point, int(entries.min()), int(entries.max()))
    kind = Requantize(bounds, found.zero_point)
    scale = np.asarray(found.scale / by.scale, np.float32)
    if not np.array_equal(kind.evaluate((integers_of(source.type.dtype), scale))[0], entries):
        return None
    # Bounds that the type itself gives are the type's.
    whole = Requantize(Range.whole(DType.I8, zero_point), found.zero_point)
    if np.array_equal(whole.evaluate((integers_of(source.type.dtype), scale))[0], entries):
        kind = whole
    return rewriter.emit(kind, source, rewriter.constant(scale, name="scale"))


RULES: tuple[Rule, ...] = (tabulate,)
