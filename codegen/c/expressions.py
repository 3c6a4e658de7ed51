"""Kernel expressions as C expressions: no undefined behaviour, no implicit conversion that warns.

Signed arithmetic wraps through unsigned types, in at least 32 bits, so that the promotion of short
unsigned operands to int cannot overflow. A part that is used twice, or grows long, is bound to a
`const` temporary, so that it is computed once and lines stay readable.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from lepton_cc.codegen.c import support
from lepton_cc.codegen.c.types import (
    float_bits,
    literal,
    value_type,
    wide_unsigned,
    width,
)
from lepton_cc.codegen.kernel.expr import (
    Binary,
    BinaryOp,
    Bitcast,
    Cast,
    Compare,
    Const,
    Expr,
    Load,
    MulAdd,
    Select,
    Unary,
    UnaryOp,
    Var,
)
from lepton_cc.codegen.kernel.integer_expr import Dot, LoadWord, PackedWord
from lepton_cc.codegen.kernel.types import INDEX, Buffer, ScalarType, is_float
from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.dtype import DType

_LONGEST = 80  # characters of an expression that is not cut into temporaries


@dataclass(frozen=True, slots=True)
class Text:
    """A C expression; `atomic` if it can be an operand without parentheses.

    `unsigned`: the same bits as an expression of the unsigned type, where that is shorter than
    another cast.
    """

    text: str
    atomic: bool
    unsigned: "Text | None" = None

    @property
    def operand(self) -> str:
        """The expression as an operand."""
        return self.text if self.atomic else f"({self.text})"


class ExpressionEmitter:
    """Prints the expressions of one statement; `bind` declares a temporary and returns its name."""

    def __init__(
        self,
        variables: Mapping[Var, str],
        buffers: Mapping[Buffer, str],
        bind: Callable[[ScalarType, str], str],
        used: set[support.SupportFunction],
    ) -> None:
        self._variables = variables
        self._buffers = buffers
        self._bind = bind
        self._used = used
        self._texts: dict[Expr, Text] = {}

    def emit(self, *roots: Expr) -> tuple[str, ...]:
        """The expressions as texts; temporaries are bound before them."""
        uses = _use_counts(roots)
        for root in roots:
            self._emit_parts(root, uses)
        return tuple(self._texts[root].text for root in roots)

    def _emit_parts(self, root: Expr, uses: Mapping[Expr, int]) -> None:
        pending = [root]
        while pending:
            top = pending[-1]
            missing = [part for part in reversed(top.operands()) if part not in self._texts]
            if missing:
                pending.extend(missing)
                continue
            pending.pop()
            if top in self._texts:
                continue
            text = self._new(top)
            simple = isinstance(top, Const | Var)
            if not simple and (uses[top] > 1 or (len(text.text) > _LONGEST and top is not root)):
                text = Text(self._bind(top.type, text.text), atomic=True)
            self._texts[top] = text

    def _new(self, expr: Expr) -> Text:
        match expr:
            case Const():
                text = self._const(expr)
            case Var():
                text = Text(self._variables[expr], atomic=True)
            case Load():
                text = self._load(expr)
            case Unary():
                text = self._unary(expr)
            case Binary():
                text = self._binary(expr)
            case Compare():
                text = self._compare(expr)
            case Select():
                text = self._select(expr)
            case Cast():
                text = self._cast(expr)
            case Bitcast():
                text = self._bitcast(expr)
            case MulAdd():
                text = self._mul_add(expr)
            case LoadWord(_, buffer, index):
                at = f"&{self._buffers[buffer]}[{self._texts[index].text}]"
                text = self._call(support.LOAD_WORD, at)
            case PackedWord(_, elements):
                texts = [_cast(DType.U8, self._texts[part].text).text for part in elements]
                text = self._call(support.PACKED_WORD, ", ".join(texts))
            case Dot(_, shape):
                words = ", ".join(self._unsigned(part).text for part in expr.operands())
                text = self._call(support.DOTS[shape], words)
            case _:
                raise InternalError(f"no C for {type(expr).__name__}")
        return text

    def _operand(self, expr: Expr) -> str:
        return self._texts[expr].operand

    def _unsigned(self, expr: Expr) -> Text:
        """The expression in at least 32 bits, unsigned."""
        wide, text = wide_unsigned(expr.type), self._texts[expr]
        if isinstance(expr, Const):
            word = DType.U64 if wide == "uint64_t" else DType.U32
            return Text(literal(expr.value, word), atomic=True)
        if value_type(expr.type) == wide:
            return text
        return text.unsigned or Text(f"({wide}){text.operand}", atomic=True)

    def _call(self, function: support.SupportFunction, argument: str) -> Text:
        self._used.add(function)
        return Text(f"{function.name}({argument})", atomic=True)

    # Leaves

    def _const(self, expr: Const) -> Text:
        if is_float(expr.type):
            encoding = float_bits(expr.value, expr.type)
            if encoding is not None:
                assert isinstance(expr.type, DType)
                word = DType.U32 if expr.type is DType.F32 else DType.U64
                return self._call(support.float_of_bits(expr.type), literal(encoding, word))
        return Text(literal(expr.value, expr.type), atomic=True)

    def _load(self, expr: Load) -> Text:
        element = f"{self._buffers[expr.buffer]}[{self._texts[expr.index].text}]"
        if expr.type is DType.BOOL:
            return Text(f"{element} != 0", atomic=False)
        return Text(element, atomic=True)

    # Operations

    def _unary(self, expr: Unary) -> Text:
        x = self._operand(expr.operand)
        type_ = expr.type
        if expr.op is UnaryOp.NOT:
            return Text(f"!{x}", atomic=False) if type_ is DType.BOOL else _cast(type_, f"~{x}")
        if is_float(type_):
            return self._float_unary(expr, x)
        if type_ is INDEX and expr.op is UnaryOp.NEG:
            return Text(f"-{x}", atomic=False)
        if expr.op is UnaryOp.NEG:
            negative = f"0u - {self._unsigned(expr.operand).operand}"
            return _wrapped(type_, Text(negative, atomic=False))
        if expr.op is UnaryOp.ABS:
            function = support.integer_magnitude(64 if width(type_) == 64 else 32)
            call = self._call(function, self._texts[expr.operand].text)
            return call if width(type_) >= 32 else _cast(type_, call.text)
        raise InternalError(f"{expr.op.value} is not defined for {type_}")

    def _float_unary(self, expr: Unary, x: str) -> Text:
        assert isinstance(expr.type, DType)
        if expr.op is UnaryOp.NEG:
            return Text(f"-{x}", atomic=False)
        if expr.op is UnaryOp.ABS:
            functions = support.float_magnitude(expr.type)
            self._used.update(functions)
            return self._call(functions[-1], self._texts[expr.operand].text)
        raise InternalError(f"{expr.op.value} of floats is to be expanded before C is printed")

    def _binary(self, expr: Binary) -> Text:
        x, y = self._operand(expr.lhs), self._operand(expr.rhs)
        plain = f"{x} {expr.op.value} {y}"
        type_ = expr.type
        if type_ is DType.BOOL:
            return Text(f"{x} {_LOGICAL[expr.op]} {y}", atomic=False)
        if type_ is INDEX or is_float(type_):
            return Text(plain, atomic=False)
        if expr.op in _WRAPPING:
            left = self._unsigned(expr.lhs).operand
            right = y if expr.op is BinaryOp.SHL else self._unsigned(expr.rhs).operand
            return _wrapped(type_, Text(f"{left} {expr.op.value} {right}", atomic=False))
        return Text(plain, atomic=False) if width(type_) >= 32 else _cast(type_, plain)

    def _compare(self, expr: Compare) -> Text:
        x, y = self._operand(expr.lhs), self._operand(expr.rhs)
        return Text(f"{x} {expr.op.value} {y}", atomic=False)

    def _select(self, expr: Select) -> Text:
        condition = self._operand(expr.condition)
        x, y = self._operand(expr.on_true), self._operand(expr.on_false)
        text = f"{condition} ? {x} : {y}"
        if expr.type in _SHORT:
            return _cast(expr.type, text)
        return Text(text, atomic=False)

    def _cast(self, expr: Cast) -> Text:
        source, target = expr.operand.type, expr.type
        x = self._operand(expr.operand)
        if target is DType.BOOL:
            return Text(f"{x} != {literal(0, source)}", atomic=False)
        if not is_float(source) or is_float(target):
            return _cast(target, self._texts[expr.operand].text)
        assert isinstance(source, DType)
        through = _CONVERTED_THROUGH.get(target, DType.I32)
        call = self._call(support.float_to_integer(source, through), self._texts[expr.operand].text)
        return call if through is target else _cast(target, call.text)

    def _bitcast(self, expr: Bitcast) -> Text:
        source, target = expr.operand.type, expr.type
        x = self._texts[expr.operand].text
        assert isinstance(source, DType)
        assert isinstance(target, DType)
        if is_float(target):
            return self._call(support.float_of_bits(target), self._unsigned(expr.operand).text)
        if is_float(source):
            call = self._call(support.bits_of_float(source), x)
            return call if target.is_unsigned_integer else _wrapped(target, call)
        return _cast(target, x)

    def _mul_add(self, expr: MulAdd) -> Text:
        x, y = self._operand(expr.lhs), self._operand(expr.rhs)
        return Text(f"{x} * {y} + {self._operand(expr.addend)}", atomic=False)


_WRAPPING = frozenset({BinaryOp.ADD, BinaryOp.SUB, BinaryOp.MUL, BinaryOp.SHL})
# Compilers warn of bitwise operators on comparisons; nothing here has side effects.
_LOGICAL = {BinaryOp.AND: "&&", BinaryOp.OR: "||", BinaryOp.XOR: "!="}
_SHORT: frozenset[ScalarType] = frozenset(
    dtype for dtype in DType if dtype.is_integer and dtype.bits < 32
)
_CONVERTED_THROUGH: Mapping[ScalarType, DType] = {
    DType.I64: DType.I64,
    DType.U64: DType.U64,
    DType.U32: DType.U32,
    INDEX: DType.I64,
}


def _use_counts(roots: tuple[Expr, ...]) -> dict[Expr, int]:
    counts = dict.fromkeys(roots, 1)
    pending = list(dict.fromkeys(roots))
    while pending:
        for part in pending.pop().operands():
            if part not in counts:
                counts[part] = 0
                pending.append(part)
            counts[part] += 1
    return counts


def _cast(type_: ScalarType, text: str) -> Text:
    simple = text.replace("_", "").replace("[", "").replace("]", "").isalnum()
    return Text(f"({value_type(type_)}){text if simple else f'({text})'}", atomic=True)


def _wrapped(type_: ScalarType, unsigned: Text) -> Text:
    """An unsigned 32-bit or 64-bit expression as a value of an integer type."""
    if value_type(type_) == wide_unsigned(type_):
        return unsigned
    signed = Text(f"({value_type(type_)}){unsigned.operand}", atomic=True)
    return replace(signed, unsigned=unsigned) if width(type_) >= 32 else signed
