"""Small attention graphs in the forms that exporters write: what head removal is tested on."""

import enum
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.elementwise import Binary
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Broadcast, Concat, Gather, Reshape, Slice, Transpose
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.reduce import Softmax
from lepton_cc.ir.types import TensorType

TIME, WIDTH, HEADS, DEPTH, PAST = 5, 12, 4, 6, 3


class Form(enum.Enum):
    """How queries, keys and values are made and how their heads are told apart."""

    SEPARATE = "a projection each"
    ROTARY = "a projection each, queries and keys turned in pairs"
    SLICED = "one projection, cut in three, then split into heads"
    STACKED = "one projection, split into three times heads"
    INTERLEAVED = "one projection, split into heads, each cut in three"
    MERGED = "a projection each, heads joined with the batch"
    GATHERED = "half as many keys and values, repeated by a gather"
    BROADCAST = "half as many keys and values, repeated by a broadcast"
    CACHED = "keys and values after those of the past, which are inputs and outputs"
    CACHED_GATHERED = "the same with half as many, repeated by a gather"

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        few = (Form.GATHERED, Form.BROADCAST, Form.CACHED_GATHERED)
        return HEADS // 2 if self in few else HEADS


@dataclass(slots=True)
class _Attention:
    build: GraphBuilder
    form: Form
    random: np.random.Generator

    def emit(self, kind: OpKind, *operands: Value, name: str = "") -> Value:
        return self.build.emit(kind, *operands, name=name or kind.mnemonic)

    def constant(self, *dims: int, name: str = "c") -> Value:
        array = self.random.normal(size=dims) / np.sqrt(dims[0])
        return self.build.constant(array.astype(np.float32), name=name)

    def layer(self, x: Value, width: int, name: str) -> Value:
        weights, bias = self.constant(x.type.dims[-1], width), self.constant(width)
        return self.emit(MatMul(), x, weights, bias, name=name)

    def split(self, x: Value, heads: int) -> Value:
        """[1, T, heads d] as [1, heads, T, d]."""
        apart = self.emit(Reshape((1, TIME, heads, DEPTH)), x)
        return self.emit(Transpose((0, 2, 1, 3)), apart)

    def part(self, x: Value, axis: int, first: int, size: int) -> Value:
        dims = x.type.dims
        starts = tuple(first if n == axis else 0 for n in range(len(dims)))
        sizes = tuple(size if n == axis else dim for n, dim in enumerate(dims))
        return self.emit(Slice(starts, sizes, (1,) * len(dims)), x)

    def turned(self, x: Value, heads: int) -> Value:
        """[1, T, heads d], each pair of neighbours turned by an angle that depends on the time."""
        pairs = self.emit(Reshape((1, TIME, heads, DEPTH // 2, 2)), x)
        one, other = self.part(pairs, 4, 0, 1), self.part(pairs, 4, 1, 1)
        cosine = self.constant(1, TIME, 1, DEPTH // 2, 1)
        parts = [
            self.emit(
                Binary(function),
                self.emit(Binary(BinaryFunction.MUL), left, cosine),
                self.emit(Binary(BinaryFunction.MUL), right, self.constant(DEPTH // 2, 1)),
            )
            for function, left, right in (
                (BinaryFunction.SUB, one, other),
                (BinaryFunction.ADD, other, one),
            )
        ]
        return self.emit(Reshape((1, TIME, heads * DEPTH)), self.emit(Concat(4), *parts))

    def three(self, x: Value) -> tuple[Value, Value, Value]:
        """Queries, keys and values [1, heads, T, d]."""
        form, heads, kv_heads = self.form, HEADS, self.form.kv_heads
        if form is Form.SLICED:
            joined, width = self.layer(x, 3 * heads * DEPTH, "qkv"), heads * DEPTH
            q, k, v = (self.part(joined, 2, n * width, width) for n in range(3))
        elif form is Form.STACKED:
            joined = self.layer(x, 3 * heads * DEPTH, "qkv")
            apart = self.emit(Reshape((1, TIME, 3, heads, DEPTH)), joined)
            turned = self.emit(Transpose((2, 0, 3, 1, 4)), apart)
            shape = Reshape((1, heads, TIME, DEPTH))
            q, k, v = (self.emit(shape, self.part(turned, 0, n, 1)) for n in range(3))
            return q, k, v
        elif form is Form.INTERLEAVED:
            joined = self.layer(x, 3 * heads * DEPTH, "qkv")
            apart = self.emit(Reshape((1, TIME, heads, 3 * DEPTH)), joined)
            turned = self.emit(Transpose((0, 2, 1, 3)), apart)
            q, k, v = (self.part(turned, 3, n * DEPTH, DEPTH) for n in range(3))
            return q, k, v
        else:
            q = self.layer(x, heads * DEPTH, "q")
            k = self.layer(x, kv_heads * DEPTH, "k")
            v = self.layer(x, kv_heads * DEPTH, "v")
        if form is Form.ROTARY:
            q, k = self.turned(q, heads), self.turned(k, kv_heads)
        return self.split(q, heads), self.split(k, kv_heads), self.split(v, kv_heads)

    def repeated(self, x: Value) -> Value:
        """[1, kv heads, T, d] as [1, heads, T, d]."""
        time = x.type.dims[2]
        if self.form is Form.BROADCAST:
            apart = self.emit(Reshape((1, HEADS // 2, 1, time, DEPTH)), x)
            more = self.emit(Broadcast((1, HEADS // 2, 2, time, DEPTH)), apart)
            return self.emit(Reshape((1, HEADS, time, DEPTH)), more)
        indices = self.build.constant(np.arange(HEADS) // 2, name="indices")
        return self.emit(Gather(1), x, indices)


def attention(form: Form) -> Graph:
    """Attention added to its input, f32[1, 5, 12]; the past is more inputs and outputs if cached.

    The output projection is named `out`.
    """
    build = GraphBuilder("attention", [])
    x = build.input("x", TensorType(DType.F32, (1, TIME, WIDTH)))
    make = _Attention(build, form, np.random.default_rng(3))
    q, k, v = make.three(x)
    caches = []
    if form in (Form.CACHED, Form.CACHED_GATHERED):
        past = TensorType(DType.F32, (1, form.kv_heads, PAST, DEPTH))
        k = make.emit(Concat(2), build.input("past_k", past), k)
        v = make.emit(Concat(2), build.input("past_v", past), v)
        caches = [k, v]
    if form.kv_heads < HEADS:
        k, v = make.repeated(k), make.repeated(v)
    if form is Form.MERGED:
        q, k, v = (make.emit(Reshape((HEADS, TIME, DEPTH)), one) for one in (q, k, v))
    rank = q.type.rank
    scores = make.emit(
        MatMul(), q, make.emit(Transpose((*range(rank - 2), rank - 1, rank - 2)), k), name="scores"
    )
    # One number for each head, as learned relative positions have.
    biased = make.emit(Binary(BinaryFunction.ADD), scores, make.constant(HEADS, 1, 1))
    mixed = make.emit(MatMul(), make.emit(Softmax(rank - 1), biased), v, name="mixed")
    if form is Form.MERGED:
        mixed = make.emit(Reshape((1, HEADS, TIME, DEPTH)), mixed)
    joined = make.emit(Reshape((1, TIME, HEADS * DEPTH)), make.emit(Transpose((0, 2, 1, 3)), mixed))
    y = make.emit(Binary(BinaryFunction.ADD), make.layer(joined, WIDTH, "out"), x)
    return build.finish([y, *caches], ["y", "new_k", "new_v"][: 1 + len(caches)])
