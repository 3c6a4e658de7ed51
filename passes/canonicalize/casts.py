"""Laws of casts."""

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Op
from lepton_cc.ir.ops.elementwise import Cast
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, kind_of, rule, same_type

# Bits of the significand, the hidden one included: integers up to 2^bits are exact.
_SIGNIFICAND = {DType.BF16: 8, DType.F16: 11, DType.F32: 24, DType.F64: 53}
_WIDER_FLOATS = {
    DType.BF16: (DType.F32, DType.F64),
    DType.F16: (DType.F32, DType.F64),
    DType.F32: (DType.F64,),
}


def keeps_every_value(source: DType, target: DType) -> bool:
    """True if each value of `source`, NaN and -0.0 included, is a value of `target`."""
    if source is target:
        return True
    if source.is_float:
        return target in _WIDER_FLOATS.get(source, ())
    if source is DType.BOOL:
        return target.is_integer or target in _SIGNIFICAND
    magnitude = source.bits - source.is_signed_integer
    if target in _SIGNIFICAND:
        return magnitude <= _SIGNIFICAND[target]
    if source.is_signed_integer:
        return target.is_signed_integer and source.bits <= target.bits
    return target.is_integer and magnitude <= target.bits - target.is_signed_integer


@rule("cast(x, type of x) = x", Cast)
def cast_to_same_type(op: Op, rewriter: Rewriter) -> Replacement:
    return same_type(op, op.inputs[0])


@rule("cast(cast(x, a), b) = cast(x, b) where a holds every value of x's type", Cast)
def merge_casts(op: Op, rewriter: Rewriter) -> Replacement:
    outer = kind_of(op, Cast)
    found = rewriter.match(op.inputs[0], Cast)
    if found is None:
        return None
    inner, producer = found
    (x,) = producer.inputs
    if not keeps_every_value(x.type.dtype, inner.dtype):
        return None
    if not x.type.dtype.is_float and outer.dtype.is_float and outer.dtype.bits < 32:
        # Integers reach narrow floats through binary32, so that the way there matters.
        return None
    return (rewriter.emit(outer, x),)


RULES: tuple[Rule, ...] = (cast_to_same_type, merge_casts)
