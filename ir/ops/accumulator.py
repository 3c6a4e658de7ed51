"""What contractions accumulate in: narrow integers in i32, everything else in its own type."""

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.dtype import DType


def accumulator_dtype(lhs: DType, rhs: DType) -> DType:
    """The result type of a contraction of two element types.

    Integers of up to 16 bits may be mixed and give i32; other types must be equal.

    Raises:
        TypeInferenceError: the types cannot be multiplied with one another.
    """
    if lhs.is_integer and rhs.is_integer and max(lhs.bits, rhs.bits) <= 16:
        return DType.I32
    if lhs is not rhs or lhs is DType.BOOL:
        raise TypeInferenceError(f"cannot multiply {lhs.value} by {rhs.value}")
    return lhs
