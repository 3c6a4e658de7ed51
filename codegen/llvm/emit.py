"""Kernel IR -> LLVM IR text: the statements of one function. Vector loops become vector code.

The text, rather than llvmlite's builder, because it is also an artifact that people read, and
because it is several times faster to make.
"""

from lepton_cc.codegen.kernel.expr import Var
from lepton_cc.codegen.kernel.ir import (
    Block,
    For,
    If,
    Let,
    LoopKind,
    Matrix,
    MatrixDot,
    MatrixLoad,
    MatrixStore,
    Prefetch,
    Stmt,
    Store,
)
from lepton_cc.codegen.kernel.types import INDEX, Buffer
from lepton_cc.codegen.llvm import types
from lepton_cc.codegen.llvm.expressions import ExpressionEmitter
from lepton_cc.codegen.llvm.instructions import Operand
from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.dtype import DType

# A vector of AVX-512, which stores any of its bytes.
_MASKED_BYTES = 64
_BYTES = frozenset({DType.I8, DType.U8})


class FunctionEmitter(ExpressionEmitter):
    """Emits the body of one LLVM function."""

    def text(self) -> str:
        """The lines of the body, local arrays first."""
        return "\n".join([*self._entry, *self._lines])

    def declare_local(self, buffer: Buffer) -> None:
        """Gives a REGISTERS buffer a place on the stack that LLVM then promotes to registers."""
        pointer = f"%{buffer.name}"
        element = types.stored(buffer.dtype, self._target.pointer_bits)
        self._entry.append(f"  {pointer} = alloca [{buffer.size} x {element}], align 64")
        self._pointers[buffer] = pointer

    def declare_matrix(self, matrix: Matrix) -> None:
        """Gives a matrix the next of the target's registers."""
        self._matrices[matrix] = len(self._matrices)

    def bind(self, var: Var, text: str) -> None:
        """Binds a variable to a scalar SSA value that exists already."""
        self._values[var] = Operand(text, var.type)

    def emit_block(self, block: Block) -> None:
        """Emits statements in order."""
        for statement in block:
            self._memo = {}
            self._emit_statement(statement)

    def _emit_statement(self, statement: Stmt) -> None:
        if isinstance(statement, For):
            self._emit_for(statement)
        elif isinstance(statement, Store):
            self._emit_store(statement)
        elif isinstance(statement, Let):
            self._values[statement.var] = self._emit(statement.value)
        elif isinstance(statement, If):
            self._emit_if(statement)
        elif isinstance(statement, MatrixDot):
            self._emit_matrix_dot(statement)
        elif isinstance(statement, MatrixLoad | MatrixStore):
            self._emit_matrix_move(statement)
        elif isinstance(statement, Prefetch):
            self._emit_prefetch(statement)
        else:
            raise InternalError(f"no LLVM for {type(statement).__name__}")

    # Loops and branches

    def _emit_for(self, loop: For) -> None:
        begin, end = self._static(loop.begin), self._static(loop.end)
        if begin is not None and end is not None:
            if begin >= end:
                return
            if loop.kind is LoopKind.UNROLL or (
                end - begin == 1 and loop.kind is not LoopKind.VECTOR
            ):
                for value in range(begin, end):
                    with self._bound(loop.var, value):
                        self.emit_block(loop.body)
                return
        if loop.kind is LoopKind.UNROLL:
            raise InternalError(f"loop {loop.var.name} cannot be unrolled: its bounds are open")
        if loop.kind is LoopKind.VECTOR:
            self._emit_vector_loop(loop, begin, end)
            return
        self._emit_counted_loop(loop)

    def _emit_vector_loop(self, loop: For, begin: int | None, end: int | None) -> None:
        if begin != 0 or end is None or self._lane is not None:
            raise InternalError(f"vector loop {loop.var.name} must be innermost, from 0, constant")
        if end == 1:
            with self._bound(loop.var, 0):
                self.emit_block(loop.body)
            return
        self._lane = (loop.var, end)
        self.emit_block(loop.body)
        self._lane = None

    def _emit_counted_loop(self, loop: For) -> None:
        index_type = self._type_text(INDEX, 1)
        begin, end = self._emit(loop.begin), self._emit(loop.end)
        self._counter += 1
        tag = f"{loop.var.name}.{self._counter}"
        previous = self._block
        skip = self._static(loop.begin) is None or self._static(loop.end) is None
        if skip:
            any_ = self._line(f"icmp slt {index_type} {begin.text}, {end.text}")
            self._terminate(f"br i1 {any_}, label %{tag}, label %{tag}.end")
        else:
            self._terminate(f"br label %{tag}")
        self._label(tag)
        variable = f"%{tag}.i"
        place = len(self._lines)
        self._lines.append("")
        saved = self._values.get(loop.var)
        self._values[loop.var] = Operand(variable, INDEX)
        self.emit_block(loop.body)
        if saved is None:
            del self._values[loop.var]
        else:
            self._values[loop.var] = saved
        following = self._line(f"add nsw {index_type} {variable}, 1")
        latch = self._block
        self._lines[place] = (
            f"  {variable} = phi {index_type} "
            f"[ {begin.text}, %{previous} ], [ {following}, %{latch} ]"
        )
        more = self._line(f"icmp slt {index_type} {following}, {end.text}")
        self._terminate(f"br i1 {more}, label %{tag}, label %{tag}.end")
        self._label(f"{tag}.end")

    def _emit_if(self, statement: If) -> None:
        condition = self._emit(statement.condition)
        if condition.lanes != 1:
            raise InternalError("a condition differs between lanes")
        self._counter += 1
        tag = f"if.{self._counter}"
        self._terminate(f"br i1 {condition.text}, label %{tag}.then, label %{tag}.else")
        for name, block in (("then", statement.then), ("else", statement.otherwise)):
            self._label(f"{tag}.{name}")
            self.emit_block(block)
            self._terminate(f"br label %{tag}.end")
        self._label(f"{tag}.end")

    # Matrices: the registers of AMX, by number

    def _emit_matrix_dot(self, statement: MatrixDot) -> None:
        matrices = (statement.total, statement.lhs, statement.rhs)
        numbers = ", ".join(f"i8 {self._matrices[matrix]}" for matrix in matrices)
        self.intrinsics.add("declare void @llvm.x86.tdpbusd(i8 immarg, i8 immarg, i8 immarg)")
        self._lines.append(f"  call void @llvm.x86.tdpbusd({numbers})")

    def _emit_matrix_move(self, statement: MatrixLoad | MatrixStore) -> None:
        name = "tileloadd64" if isinstance(statement, MatrixLoad) else "tilestored64"
        pointer = self._address(statement.buffer, self._emit(statement.index))
        stride = statement.stride * statement.buffer.dtype.size_bytes
        number = self._matrices[statement.matrix]
        self.intrinsics.add(f"declare void @llvm.x86.{name}(i8 immarg, ptr, i64)")
        self._lines.append(
            f"  call void @llvm.x86.{name}(i8 {number}, ptr {pointer}, i64 {stride})"
        )

    def _emit_prefetch(self, statement: Prefetch) -> None:
        # Not `inbounds`: it may lie beyond the buffer.
        element = types.stored(statement.buffer.dtype, self._target.pointer_bits)
        index_type = self._type_text(INDEX, 1)
        at = self._emit(statement.index).text
        base = self._pointers[statement.buffer]
        pointer = self._line(f"getelementptr {element}, ptr {base}, {index_type} {at}")
        self.intrinsics.add(
            "declare void @llvm.prefetch.p0(ptr, i32 immarg, i32 immarg, i32 immarg)"
        )
        self._lines.append(f"  call void @llvm.prefetch.p0(ptr {pointer}, i32 0, i32 3, i32 1)")

    # Stores

    def _emit_store(self, statement: Store) -> None:
        buffer = statement.buffer
        lane = self._lane
        stride = 0 if lane is None else self._lane_stride(statement.index, lane[0])
        value = self._emit(statement.value)
        if lane is None or (stride == 0 and value.lanes == 1):
            self._store_at(buffer, self._emit(statement.index), value)
            return
        value = self._splat(value, lane[1])
        if stride == 1:
            with self._scalar_lane(lane[0], 0):
                base = self._emit(statement.index)
            self._store_at(buffer, base, value)
            return
        if stride is not None and self._has_byte_masks(buffer, stride, lane[1]):
            with self._scalar_lane(lane[0], 0):
                base = self._emit(statement.index)
            self._store_apart(buffer, base, value, stride)
            return
        for number in range(lane[1]):
            with self._scalar_lane(lane[0], number):
                at = self._emit(statement.index)
                kind = self._type_text(value.type, value.lanes)
                element = self._line(f"extractelement {kind} {value.text}, i32 {number}")
                self._store_at(buffer, at, Operand(element, value.type))

    def _has_byte_masks(self, buffer: Buffer, stride: int, lanes: int) -> bool:
        """Whether lanes that many bytes apart are stored by vectors whose other bytes stay."""
        wide = self._target.vector_bytes == _MASKED_BYTES and buffer.dtype in _BYTES
        return wide and stride in (2, 4) and lanes * stride % _MASKED_BYTES == 0

    def _store_apart(self, buffer: Buffer, at: Operand, value: Operand, stride: int) -> None:
        count, vector = _MASKED_BYTES // stride, f"<{_MASKED_BYTES} x i8>"
        stored = [byte % stride == 0 for byte in range(_MASKED_BYTES)]
        mask = ", ".join(f"i1 {int(is_stored)}" for is_stored in stored)
        store, pointer = "@llvm.masked.store.v64i8.p0", self._address(buffer, at)
        self.intrinsics.add(f"declare void {store}({vector}, ptr, i32 immarg, <64 x i1>)")
        given = f"<{value.lanes} x i8>"
        for first in range(0, value.lanes, count):
            order = ", ".join(
                f"i32 {first + byte // stride}" if is_stored else "i32 poison"
                for byte, is_stored in enumerate(stored)
            )
            operands = f"{given} {value.text}, {given} poison, <{_MASKED_BYTES} x i32> <{order}>"
            spread = self._line(f"shufflevector {operands}")
            here = self._line(f"getelementptr i8, ptr {pointer}, i64 {first * stride}")
            operands = f"{vector} {spread}, ptr {here}, i32 1, <{_MASKED_BYTES} x i1> <{mask}>"
            self._lines.append(f"  call void {store}({operands})")

    def _store_at(self, buffer: Buffer, at: Operand, value: Operand) -> None:
        if value.type is DType.BOOL:
            wide = types.vector("i8", value.lanes)
            narrow = self._type_text(DType.BOOL, value.lanes)
            value = Operand(
                self._line(f"zext {narrow} {value.text} to {wide}"), DType.BOOL, value.lanes
            )
        element = types.stored(buffer.dtype, self._target.pointer_bits)
        pointer = self._address(buffer, at)
        self._lines.append(
            f"  store {types.vector(element, value.lanes)} {value.text}, ptr {pointer}, "
            f"align {buffer.dtype.size_bytes}"
        )
