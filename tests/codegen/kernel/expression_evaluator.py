"""What kernels mean, by NumPy: the oracle of the emitters and of the math functions.

Arithmetic is exact: every operation is NumPy's on arrays (or zero-dimensional ones) of the
expression's own type, so a variable may stand for a whole array of test values. MulAdd rounds
twice, as on targets without the instruction, or once in binary64 for `fused` binary32.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    Select,
    Unary,
    UnaryOp,
    Var,
)
from lepton_cc.codegen.kernel.integer_expr import Dot, DotShape, LoadWord, PackedWord, Saturate
from lepton_cc.codegen.kernel.ir import (
    Block,
    For,
    If,
    Kernel,
    Let,
    Matrix,
    MatrixDot,
    MatrixLoad,
    MatrixStore,
    Prefetch,
    Store,
)
from lepton_cc.codegen.kernel.types import Buffer, ScalarType, is_float
from lepton_cc.ir.dtype import DType, integer_bounds

Value = NDArray[Any]
Memory = dict[Buffer, Value]


def numpy_type(type_: ScalarType) -> np.dtype[Any]:
    """NumPy's type of a kernel value; sub-byte integers take a byte."""
    if not isinstance(type_, DType):
        return np.dtype(np.int64)
    if type_.is_integer and type_.bits < 8:
        return np.dtype(np.int8 if type_.is_signed_integer else np.uint8)
    return type_.numpy


_UNARY = {
    UnaryOp.NEG: np.negative,
    UnaryOp.ABS: np.abs,
    UnaryOp.SQRT: np.sqrt,
    UnaryOp.FLOOR: np.floor,
    UnaryOp.CEIL: np.ceil,
    UnaryOp.TRUNC: np.trunc,
    UnaryOp.ROUND_EVEN: np.rint,
}
_COMPARE = {
    CompareOp.EQ: np.equal,
    CompareOp.NE: np.not_equal,
    CompareOp.LT: np.less,
    CompareOp.LE: np.less_equal,
    CompareOp.GT: np.greater,
    CompareOp.GE: np.greater_equal,
}
_BINARY = {
    BinaryOp.ADD: np.add,
    BinaryOp.SUB: np.subtract,
    BinaryOp.MUL: np.multiply,
    BinaryOp.AND: np.bitwise_and,
    BinaryOp.OR: np.bitwise_or,
    BinaryOp.XOR: np.bitwise_xor,
    BinaryOp.SHL: np.left_shift,
    BinaryOp.SHR: np.right_shift,
}


class Evaluator:
    """Evaluates expressions and runs kernels over arrays."""

    def __init__(self, memory: Memory | None = None, *, fused: bool = False) -> None:
        self._memory = {} if memory is None else memory
        self._matrices: dict[Matrix, NDArray[np.int32]] = {}
        self._variables: dict[Var, Value] = {}
        self._fused = fused

    def bind(self, values: Mapping[Var, Value]) -> None:
        """Gives variables their values."""
        self._variables.update(values)

    def evaluate(self, expr: Expr) -> Value:
        """The value of an expression; every shared part is computed once."""
        memo: dict[int, Value] = {}
        pending = [expr]
        with np.errstate(all="ignore"):
            while pending:
                top = pending[-1]
                missing = [part for part in top.operands() if id(part) not in memo]
                if missing:
                    pending.extend(missing)
                    continue
                pending.pop()
                if id(top) not in memo:
                    parts = [memo[id(part)] for part in top.operands()]
                    value = self._apply(top, parts)
                    memo[id(top)] = np.asarray(value, numpy_type(top.type))
        return memo[id(expr)]

    def _apply(self, expr: Expr, parts: list[Value]) -> Value:
        if isinstance(expr, Const | Var):
            return _constant(expr) if isinstance(expr, Const) else self._variables[expr]
        if isinstance(expr, Load):
            content = self._memory[expr.buffer]
            assert np.all(parts[0] >= 0), f"{expr.buffer.name} is read at {parts[0]}"
            return np.asarray(content[parts[0]])
        if isinstance(expr, LoadWord):
            content = np.ascontiguousarray(self._memory[expr.buffer])
            places = [(parts[0] + i) for i in range(4 // content.itemsize)]
            return np.stack([content[place] for place in places], -1).view("<i4")[..., 0]
        if isinstance(expr, PackedWord):
            bytes_ = np.stack([part.astype(np.uint8) for part in np.broadcast_arrays(*parts)], -1)
            return np.ascontiguousarray(bytes_).view("<i4")[..., 0]
        if isinstance(expr, Dot):
            return _dot(expr, *parts)
        if isinstance(expr, Unary):
            return self._unary(expr, parts[0])
        if isinstance(expr, Binary):
            return _binary(expr, *parts)
        if isinstance(expr, Compare):
            return np.asarray(_COMPARE[expr.op](*parts))
        if isinstance(expr, Select):
            return np.where(*parts)
        if isinstance(expr, Bitcast):
            return parts[0].view(numpy_type(expr.type))
        if isinstance(expr, Cast):
            return _cast(expr, parts[0])
        if isinstance(expr, Saturate):
            assert isinstance(expr.type, DType)
            wide = parts[0].astype(np.int64) + expr.addend
            return np.clip(wide, *integer_bounds(expr.type)).astype(numpy_type(expr.type))
        assert isinstance(expr, MulAdd)
        if self._fused and expr.type is DType.F32:
            lhs, rhs, addend = (part.astype(np.float64) for part in parts)
            return (lhs * rhs + addend).astype(np.float32)
        return parts[0] * parts[1] + parts[2]

    @staticmethod
    def _unary(expr: Unary, x: Value) -> Value:
        if expr.op is UnaryOp.NOT:
            return np.logical_not(x) if expr.type is DType.BOOL else np.invert(x)
        return np.asarray(_UNARY[expr.op](x))

    def run(self, kernel: Kernel) -> None:
        """Runs a kernel; its parameters must be in the memory."""
        for buffer in kernel.locals:
            self._memory[buffer] = np.zeros(buffer.size, numpy_type(buffer.dtype))
        self._block(kernel.body)

    def _block(self, block: Block) -> None:
        for statement in block:
            if isinstance(statement, For):
                begin, end = self.evaluate(statement.begin), self.evaluate(statement.end)
                for number in range(int(begin), int(end)):
                    self._variables[statement.var] = np.asarray(number, np.int64)
                    self._block(statement.body)
            elif isinstance(statement, Let):
                self._variables[statement.var] = self.evaluate(statement.value)
            elif isinstance(statement, If):
                taken = bool(self.evaluate(statement.condition))
                self._block(statement.then if taken else statement.otherwise)
            elif isinstance(statement, MatrixDot):
                self._matrix_dot(statement)
            elif isinstance(statement, MatrixLoad | MatrixStore):
                self._matrix_move(statement)
            elif isinstance(statement, Prefetch):
                assert int(self.evaluate(statement.index)) >= 0
            else:
                assert isinstance(statement, Store)
                at, value = self.evaluate(statement.index), self.evaluate(statement.value)
                assert at >= 0, f"{statement.buffer.name} is written at {at}"
                self._memory[statement.buffer][at] = value

    def _matrix_dot(self, statement: MatrixDot) -> None:
        lhs = self._matrices[statement.lhs].view(np.uint8).reshape(statement.lhs.rows, -1)
        words = self._matrices[statement.rhs].view(np.int8)
        rhs = words.reshape(statement.rhs.rows, -1, 4).transpose(0, 2, 1)
        products = lhs.astype(np.int64) @ rhs.reshape(lhs.shape[1], -1).astype(np.int64)
        self._matrices[statement.total] += products.astype(np.int32)

    def _matrix_move(self, statement: MatrixLoad | MatrixStore) -> None:
        matrix, memory = statement.matrix, self._memory[statement.buffer]
        at = int(self.evaluate(statement.index))
        size = matrix.words * 4 // memory.itemsize
        assert at >= 0
        assert at + (matrix.rows - 1) * statement.stride + size <= memory.size
        rows = [memory[at + i * statement.stride :][:size] for i in range(matrix.rows)]
        if isinstance(statement, MatrixLoad):
            self._matrices[matrix] = np.stack([row.view(np.int32) for row in rows])
            return
        for row, words in zip(rows, self._matrices[matrix], strict=True):
            row[:] = words


def _dot(expr: Dot, lhs: Value, rhs: Value, addend: Value) -> Value:
    kinds = ("u1", "i1") if expr.shape is DotShape.QUADS else ("<i2", "<i2")
    left, right = (
        np.ascontiguousarray(word)[..., None].view(kind).astype(np.int64)
        for word, kind in zip((lhs, rhs), kinds, strict=True)
    )
    return np.asarray((left * right).sum(-1) + addend, dtype=np.int32)


def _constant(expr: Const) -> Value:
    dtype = numpy_type(expr.type)
    if is_float(expr.type) or dtype == np.bool_:
        return np.asarray(expr.value, dtype)
    return np.asarray(int(expr.value) & (2 ** (8 * dtype.itemsize) - 1), np.uint64).astype(dtype)


def _binary(expr: Binary, x: Value, y: Value) -> Value:
    if expr.op in _BINARY:
        return np.asarray(_BINARY[expr.op](x, y))
    if is_float(expr.type):
        return np.asarray(np.divide(x, y))
    assert np.all(y != 0), "division by zero"
    remainder = np.fmod(x, y)
    return remainder if expr.op is BinaryOp.REM else (x - remainder) // y


def _cast(expr: Cast, x: Value) -> Value:
    if expr.type is DType.BOOL:
        return np.asarray(x != 0)
    return x.astype(numpy_type(expr.type))


def evaluate(expr: Expr, values: Mapping[Var, Value], *, fused: bool = False) -> Value:
    """The value of an expression of variables."""
    evaluator = Evaluator(fused=fused)
    evaluator.bind(values)
    return evaluator.evaluate(expr)
