"""Lowering of bitcast: an element's encoding, read as another type."""

from lepton_cc.codegen.kernel.expr import Expr
from lepton_cc.codegen.kernel.math.integer import byte_type, wrapped
from lepton_cc.codegen.lower.representation import from_storage, storage_type, to_storage
from lepton_cc.ir.dtype import DType


def reinterpreted(x: Expr, source: DType, target: DType) -> Expr:
    """The bits of x, a value of `source`, as a value of `target`; both in compute types."""
    bits = to_storage(x, source)
    if source is DType.BOOL:
        bits = bits.cast(DType.U8)
    if target is DType.BOOL:
        return bits.cast(DType.U8).differs(0)
    if target.is_integer and target.bits < 8:
        return wrapped(bits.cast(byte_type(target)), target)
    assert isinstance(bits.type, DType)
    return from_storage(bits.bitcast(storage_type(target)), target)
