"""Kernel IR expressions -> LLVM IR instructions: values, loads, lanes.

Inside a vector loop an expression that differs between lanes becomes a vector; one that does not
stays scalar until it meets a vector.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from lepton_cc.codegen.kernel.affine import coefficient
from lepton_cc.codegen.kernel.expr import (
    Binary,
    BinaryOp,
    Bitcast,
    Cast,
    Compare,
    CompareOp,
    Const,
    Expr,
    Load,
    MulAdd,
    NarrowingCast,
    Select,
    Unary,
    UnaryOp,
    Var,
    binary,
)
from lepton_cc.codegen.kernel.integer_expr import Dot, DotShape, LoadWord, PackedWord, Saturate
from lepton_cc.codegen.kernel.ir import Matrix
from lepton_cc.codegen.kernel.types import INDEX, Buffer, is_float, is_unsigned
from lepton_cc.codegen.llvm import types
from lepton_cc.codegen.llvm.instructions import InstructionWriter, Operand
from lepton_cc.codegen.llvm.pack import LANES as PACKED_LANES
from lepton_cc.codegen.llvm.pack import packed_bytes
from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.target import Target

_INTEGER_OPS = {
    BinaryOp.ADD: ("add", "add"),
    BinaryOp.SUB: ("sub", "sub"),
    BinaryOp.MUL: ("mul", "mul"),
    BinaryOp.DIV: ("sdiv", "udiv"),
    BinaryOp.REM: ("srem", "urem"),
    BinaryOp.AND: ("and", "and"),
    BinaryOp.OR: ("or", "or"),
    BinaryOp.XOR: ("xor", "xor"),
    BinaryOp.SHL: ("shl", "shl"),
    BinaryOp.SHR: ("ashr", "lshr"),
}
_FLOAT_OPS = {
    BinaryOp.ADD: "fadd",
    BinaryOp.SUB: "fsub",
    BinaryOp.MUL: "fmul",
    BinaryOp.DIV: "fdiv",
}
# Index arithmetic never overflows: LLVM may widen and strength-reduce it.
_NO_WRAP = frozenset({BinaryOp.ADD, BinaryOp.SUB, BinaryOp.MUL})
_FLOAT_COMPARES = {
    CompareOp.EQ: "oeq",
    CompareOp.NE: "une",
    CompareOp.LT: "olt",
    CompareOp.LE: "ole",
    CompareOp.GT: "ogt",
    CompareOp.GE: "oge",
}
_INTEGER_COMPARES = {
    CompareOp.EQ: ("eq", "eq"),
    CompareOp.NE: ("ne", "ne"),
    CompareOp.LT: ("slt", "ult"),
    CompareOp.LE: ("sle", "ule"),
    CompareOp.GT: ("sgt", "ugt"),
    CompareOp.GE: ("sge", "uge"),
}
# (shape, lanes) -> x86 intrinsic, bits of its parts, whether it adds to an accumulator.
_DOT_INTRINSICS = {
    (DotShape.QUADS, 16): ("avx512.vpdpbusd.512", 8, True),
    (DotShape.QUADS, 8): ("avx512.vpdpbusd.256", 8, True),
    (DotShape.QUADS, 4): ("avx512.vpdpbusd.128", 8, True),
    (DotShape.PAIRS, 16): ("avx512.pmaddw.d.512", 16, False),
    (DotShape.PAIRS, 8): ("avx2.pmadd.wd", 16, False),
    (DotShape.PAIRS, 4): ("sse2.pmadd.wd", 16, False),
}
_FLOAT_INTRINSICS = {
    UnaryOp.ABS: "fabs",
    UnaryOp.SQRT: "sqrt",
    UnaryOp.FLOOR: "floor",
    UnaryOp.CEIL: "ceil",
    UnaryOp.TRUNC: "trunc",
    UnaryOp.ROUND_EVEN: "roundeven",
}


class ExpressionEmitter(InstructionWriter):
    """Emits the instructions of expressions into one LLVM function."""

    def __init__(self, target: Target, pointers: Mapping[Buffer, str]) -> None:
        super().__init__(target)
        self._pointers = dict(pointers)
        self._values: dict[Var, Operand] = {}
        self._constants: dict[Var, int] = {}
        self._lane: tuple[Var, int] | None = None
        # The lane of a vector loop whose scalars are being made.
        self._one_lane: int | None = None
        self._memo: dict[int, Operand] = {}
        self._matrices: dict[Matrix, int] = {}

    # Lanes and unrolled variables

    @contextmanager
    def _bound(self, var: Var, value: int) -> Iterator[None]:
        before = self._constants.get(var)
        self._constants[var] = value
        yield
        if before is None:
            del self._constants[var]
        else:
            self._constants[var] = before

    # Loads

    def _address(self, buffer: Buffer, at: Operand) -> str:
        element = types.stored(buffer.dtype, self._target.pointer_bits)
        index_type = self._type_text(INDEX, 1)
        base = self._pointers[buffer]
        return self._line(f"getelementptr inbounds {element}, ptr {base}, {index_type} {at.text}")

    def _load_at(self, buffer: Buffer, at: Operand, lanes: int) -> Operand:
        pointer = self._address(buffer, at)
        element = types.vector(types.stored(buffer.dtype, self._target.pointer_bits), lanes)
        text = self._line(f"load {element}, ptr {pointer}, align {buffer.dtype.size_bytes}")
        if buffer.dtype is DType.BOOL:
            zero = "zeroinitializer" if lanes > 1 else "0"
            text = self._line(f"icmp ne {element} {text}, {zero}")
        return Operand(text, buffer.dtype, lanes)

    def _emit_load(self, expr: Load) -> Operand:
        lane = self._lane
        if lane is None:
            return self._load_at(expr.buffer, self._emit(expr.index), 1)
        stride = self._lane_stride(expr.index, lane[0])
        if stride == 0:
            return self._load_at(expr.buffer, self._emit(expr.index), 1)
        if stride == 1:
            with self._scalar_lane(lane[0], 0):
                base = self._emit(expr.index)
            return self._load_at(expr.buffer, base, lane[1])
        gathered = Operand("poison", expr.type, lane[1])
        for number in range(lane[1]):
            with self._scalar_lane(lane[0], number):
                element = self._load_at(expr.buffer, self._emit(expr.index), 1)
            gathered = self._insert(gathered, element, number)
        return gathered

    def _lane_stride(self, at: Expr, lane: Var) -> int | None:
        stride = coefficient(at, lane)
        # A value that a Let bound inside the vector loop may differ between lanes.
        if stride is not None and self._mentions_vector(at):
            return None
        return stride

    def _mentions_vector(self, expr: Expr) -> bool:
        if isinstance(expr, Var):
            bound = self._values.get(expr)
            return bound is not None and bound.lanes > 1
        return any(self._mentions_vector(operand) for operand in expr.operands())

    @contextmanager
    def _scalar_lane(self, lane: Var, number: int) -> Iterator[None]:
        saved_lane, saved_memo = self._lane, self._memo
        self._lane, self._memo, self._one_lane = None, {}, number
        with self._bound(lane, number):
            yield
        self._lane, self._memo, self._one_lane = saved_lane, saved_memo, None

    # Expressions

    def _emit(self, expr: Expr) -> Operand:
        # Operands come first by a list of our own: math functions are deeper than Python's stack.
        pending = [expr]
        while pending:
            top = pending[-1]
            leaf = isinstance(top, Load) or top.type is INDEX
            missing = [] if leaf else [p for p in top.operands() if id(p) not in self._memo]
            if missing:
                pending.extend(reversed(missing))
                continue
            pending.pop()
            if id(top) not in self._memo:
                self._memo[id(top)] = self._emit_new(top)
        return self._memo[id(expr)]

    def _emit_new(self, expr: Expr) -> Operand:
        if expr.type is INDEX:
            static = self._static(expr)
            if static is not None:
                return Operand(str(static), INDEX)
        emit = _EXPRESSIONS.get(type(expr))
        if emit is None:
            raise InternalError(f"no LLVM for {type(expr).__name__}")
        return emit(self, expr)

    def _emit_constant(self, expr: Const) -> Operand:
        text = types.constant(expr.value, expr.type, self._target.pointer_bits)
        return Operand(text, expr.type)

    def _emit_bitcast(self, expr: Bitcast) -> Operand:
        (operand,) = self._aligned(expr.operand)
        return self._converted("bitcast", operand, expr.type)

    def _emit_variable(self, expr: Var) -> Operand:
        if self._lane is not None and expr is self._lane[0]:
            width = self._lane[1]
            index_type = self._type_text(INDEX, 1)
            elements = ", ".join(f"{index_type} {number}" for number in range(width))
            return Operand(f"<{elements}>", INDEX, width)
        value = self._values[expr]
        if value.lanes > 1 and self._one_lane is not None:
            return self._extract(value, self._one_lane)
        return value

    def _aligned(self, *exprs: Expr) -> tuple[Operand, ...]:
        operands = [self._emit(expr) for expr in exprs]
        lanes = max(operand.lanes for operand in operands)
        return tuple(self._splat(operand, lanes) for operand in operands)

    def _emit_binary(self, expr: Binary) -> Operand:
        lhs, rhs = self._aligned(expr.lhs, expr.rhs)
        if is_float(expr.type):
            mnemonic = _FLOAT_OPS[expr.op]
        else:
            mnemonic = _INTEGER_OPS[expr.op][is_unsigned(expr.type)]
            if expr.type is INDEX and expr.op in _NO_WRAP:
                mnemonic += " nsw"
        kind = self._type_text(expr.type, lhs.lanes)
        return Operand(
            self._line(f"{mnemonic} {kind} {lhs.text}, {rhs.text}"), expr.type, lhs.lanes
        )

    def _emit_mul_add(self, expr: MulAdd) -> Operand:
        lhs, rhs, addend = self._aligned(expr.lhs, expr.rhs, expr.addend)
        kind = self._type_text(expr.type, lhs.lanes)
        if self._target.fused_multiply_add:
            name = self._intrinsic("fma", expr.type, lhs.lanes, 3)
            arguments = ", ".join(f"{kind} {operand.text}" for operand in (lhs, rhs, addend))
            return Operand(self._line(f"call {kind} {name}({arguments})"), expr.type, lhs.lanes)
        product = self._line(f"fmul {kind} {lhs.text}, {rhs.text}")
        return Operand(self._line(f"fadd {kind} {product}, {addend.text}"), expr.type, lhs.lanes)

    def _emit_load_word(self, expr: LoadWord) -> Operand:
        lane = self._lane
        if lane is not None and self._lane_stride(expr.index, lane[0]) != 0:
            raise InternalError("a word is the same in all lanes")
        pointer = self._address(expr.buffer, self._emit(expr.index))
        align = expr.buffer.dtype.size_bytes
        return Operand(self._line(f"load i32, ptr {pointer}, align {align}"), expr.type)

    def _emit_packed_word(self, expr: PackedWord) -> Operand:
        parts = self._aligned(*expr.elements)
        lanes = parts[0].lanes
        if lanes == 1:
            bytes_ = Operand("poison", parts[0].type, len(parts))
            for number, part in enumerate(parts):
                bytes_ = self._insert(bytes_, part, number)
            return Operand(self._line(f"bitcast <4 x i8> {bytes_.text} to i32"), expr.type)
        first, second, third, fourth = (part.text for part in parts)
        low = self._shuffled("i8", lanes, first, second, range(2 * lanes))
        high = self._shuffled("i8", lanes, third, fourth, range(2 * lanes))
        joined = self._shuffled("i8", 2 * lanes, low, high, range(4 * lanes))
        # Words of four channels to their places, then bytes within 128 bits: two cheap shuffles.
        # Freezing keeps LLVM from joining these steps into dear ones.
        whole, narrow = self._type_text(DType.I32, lanes), f"<{4 * lanes} x i8>"
        frozen = self._line(f"freeze {narrow} {joined}")
        words = self._line(f"bitcast {narrow} {frozen} to {whole}")
        words = self._permuted("i32", lanes, words, _transposed(4, lanes // 4))
        frozen = self._line(f"freeze {whole} {words}")
        fields = self._line(f"bitcast {whole} {frozen} to {narrow}")
        order = [16 * part + at for part in range(lanes // 4) for at in _transposed(4, 4)]
        fields = self._permuted("i8", 4 * lanes, fields, order)
        return Operand(self._line(f"bitcast {narrow} {fields} to {whole}"), expr.type, lanes)

    def _emit_dot(self, expr: Dot) -> Operand:
        lhs, rhs, addend = self._aligned(expr.lhs, expr.rhs, expr.addend)
        name, bits, accumulates = _DOT_INTRINSICS[expr.shape, lhs.lanes]
        whole = self._type_text(DType.I32, lhs.lanes)
        parts = f"<{lhs.lanes * 32 // bits} x i{bits}>"
        words = [self._line(f"bitcast {whole} {v.text} to {parts}") for v in (lhs, rhs)]
        given = [f"{parts} {word}" for word in words]
        kinds = [parts, parts]
        if accumulates:
            given, kinds = [f"{whole} {addend.text}", *given], [whole, *kinds]
        self.intrinsics.add(f"declare {whole} @llvm.x86.{name}({', '.join(kinds)})")
        total = self._line(f"call {whole} @llvm.x86.{name}({', '.join(given)})")
        if not accumulates:
            total = self._line(f"add {whole} {addend.text}, {total}")
        return Operand(total, DType.I32, lhs.lanes)

    def _emit_unary(self, expr: Unary) -> Operand:
        (operand,) = self._aligned(expr.operand)
        kind = self._type_text(expr.type, operand.lanes)
        if expr.op is UnaryOp.NEG:
            text = f"fneg {kind} {operand.text}"
            if not is_float(expr.type):
                zero = self._splat(Operand("0", expr.type), operand.lanes)
                text = f"sub {kind} {zero.text}, {operand.text}"
        elif expr.op is UnaryOp.NOT:
            ones = Operand("true" if expr.type is DType.BOOL else "-1", expr.type)
            text = f"xor {kind} {operand.text}, {self._splat(ones, operand.lanes).text}"
        elif is_float(expr.type):
            name = self._intrinsic(_FLOAT_INTRINSICS[expr.op], expr.type, operand.lanes, 1)
            text = f"call {kind} {name}({kind} {operand.text})"
        elif expr.op is UnaryOp.ABS:
            name = self._intrinsic("abs", expr.type, operand.lanes, 1, ", i1")
            text = f"call {kind} {name}({kind} {operand.text}, i1 false)"
        else:
            raise InternalError(f"{expr.op} is not defined for {expr.type}")
        return Operand(self._line(text), expr.type, operand.lanes)

    def _emit_compare(self, expr: Compare) -> Operand:
        lhs, rhs = self._aligned(expr.lhs, expr.rhs)
        kind = self._type_text(lhs.type, lhs.lanes)
        if is_float(lhs.type):
            text = f"fcmp {_FLOAT_COMPARES[expr.op]} {kind} {lhs.text}, {rhs.text}"
        else:
            predicate = _INTEGER_COMPARES[expr.op][is_unsigned(lhs.type)]
            text = f"icmp {predicate} {kind} {lhs.text}, {rhs.text}"
        return Operand(self._line(text), DType.BOOL, lhs.lanes)

    def _emit_select(self, expr: Select) -> Operand:
        condition = self._emit(expr.condition)
        on_true, on_false = self._aligned(expr.on_true, expr.on_false)
        lanes = max(condition.lanes, on_true.lanes)
        if condition.lanes != 1:
            condition = self._splat(condition, lanes)
        on_true, on_false = self._splat(on_true, lanes), self._splat(on_false, lanes)
        kind = self._type_text(expr.type, lanes)
        choice = self._type_text(DType.BOOL, condition.lanes)
        text = self._line(
            f"select {choice} {condition.text}, {kind} {on_true.text}, {kind} {on_false.text}"
        )
        return Operand(text, expr.type, lanes)

    def _emit_saturate(self, expr: Saturate) -> Operand:
        operand = self._emit(expr.operand)
        assert isinstance(expr.type, DType)
        if operand.lanes == PACKED_LANES and self._target.vector_bytes == PACKED_LANES:
            text = packed_bytes(self._line, self.intrinsics, operand.text, expr.type, expr.addend)
            return Operand(text, expr.type, operand.lanes)
        kind = self._type_text(DType.I32, operand.lanes)

        def literal(value: int) -> str:
            return self._splat(Operand(str(value), DType.I32), operand.lanes).text

        total = operand.text
        if expr.addend:
            total = self._line(f"add nsw {kind} {total}, {literal(expr.addend)}")
        for name, bound in zip(("smax", "smin"), integer_bounds(expr.type), strict=True):
            function = self._intrinsic(name, DType.I32, operand.lanes, 2)
            total = self._line(f"call {kind} {function}({kind} {total}, {kind} {literal(bound)})")
        return self._converted("trunc", Operand(total, DType.I32, operand.lanes), expr.type)

    def _emit_rounded(self, expr: Unary) -> Operand:
        """RNE to i32 in one instruction, in the rounding mode that all code runs in."""
        (operand,) = self._aligned(expr.operand)
        source, target = (self._type_text(t, operand.lanes) for t in (expr.type, DType.I32))
        lanes = operand.lanes
        suffix = "i32.f32" if lanes == 1 else f"v{lanes}i32.v{lanes}f32"
        self.intrinsics.add(f"declare {target} @llvm.lrint.{suffix}({source})")
        call = f"call {target} @llvm.lrint.{suffix}({source} {operand.text})"
        return Operand(self._line(call), DType.I32, lanes)

    def _emit_cast(self, expr: Cast) -> Operand:
        inner = expr.operand
        if isinstance(inner, Unary) and inner.op is UnaryOp.ROUND_EVEN and expr.type is DType.I32:
            return self._emit_rounded(inner)
        (operand,) = self._aligned(expr.operand)
        source, target = operand.type, expr.type
        if target is DType.BOOL:
            kind = self._type_text(source, operand.lanes)
            zero = self._splat(Operand(types.constant(0, source, 64), source), operand.lanes)
            test = "fcmp une" if is_float(source) else "icmp ne"
            text = self._line(f"{test} {kind} {operand.text}, {zero.text}")
            return Operand(text, target, operand.lanes)
        pointer_bits = self._target.pointer_bits
        narrow, wide = types.bits(source, pointer_bits), types.bits(target, pointer_bits)
        if is_float(source) and is_float(target):
            mnemonic = "fpext" if narrow < wide else "fptrunc"
        elif is_float(source):
            mnemonic = "fptoui" if is_unsigned(target) else "fptosi"
        elif is_float(target):
            mnemonic = "uitofp" if is_unsigned(source) else "sitofp"
        elif narrow == wide:
            return Operand(operand.text, target, operand.lanes)
        elif narrow > wide:
            mnemonic = "trunc"
        else:
            mnemonic = "zext" if is_unsigned(source) else "sext"
        return self._converted(mnemonic, operand, target)

    def _static(self, expr: Expr) -> int | None:
        """The value of an index expression that is known while emitting."""
        if isinstance(expr, Const):
            return int(expr.value)
        if isinstance(expr, Var):
            return self._constants.get(expr)
        if isinstance(expr, Binary) and expr.type is INDEX:
            lhs = self._static(expr.lhs)
            rhs = None if lhs is None else self._static(expr.rhs)
            if lhs is None or rhs is None:
                return None
            folded = binary(expr.op, Const(INDEX, lhs), rhs)
            return int(folded.value) if isinstance(folded, Const) else None
        if isinstance(expr, Select) and expr.type is INDEX:
            return self._static_select(expr)
        return None

    def _static_select(self, expr: Select) -> int | None:
        condition = expr.condition
        if not isinstance(condition, Compare):
            return None
        lhs, rhs = self._static(condition.lhs), self._static(condition.rhs)
        if lhs is None or rhs is None:
            return None
        return self._static(expr.on_true if _COMPARE[condition.op](lhs, rhs) else expr.on_false)


def _transposed(rows: int, columns: int) -> tuple[int, ...]:
    """Element numbers of a matrix in the order of its columns."""
    return tuple(row * columns + column for column in range(columns) for row in range(rows))


_COMPARE = {
    CompareOp.EQ: lambda x, y: x == y,
    CompareOp.NE: lambda x, y: x != y,
    CompareOp.LT: lambda x, y: x < y,
    CompareOp.LE: lambda x, y: x <= y,
    CompareOp.GT: lambda x, y: x > y,
    CompareOp.GE: lambda x, y: x >= y,
}
_EXPRESSIONS: Mapping[type[Expr], Callable[..., Operand]] = {
    Const: ExpressionEmitter._emit_constant,
    Var: ExpressionEmitter._emit_variable,
    Load: ExpressionEmitter._emit_load,
    MulAdd: ExpressionEmitter._emit_mul_add,
    LoadWord: ExpressionEmitter._emit_load_word,
    PackedWord: ExpressionEmitter._emit_packed_word,
    Dot: ExpressionEmitter._emit_dot,
    Binary: ExpressionEmitter._emit_binary,
    Unary: ExpressionEmitter._emit_unary,
    Compare: ExpressionEmitter._emit_compare,
    Select: ExpressionEmitter._emit_select,
    Cast: ExpressionEmitter._emit_cast,
    NarrowingCast: ExpressionEmitter._emit_cast,
    Saturate: ExpressionEmitter._emit_saturate,
    Bitcast: ExpressionEmitter._emit_bitcast,
}
