"""The structural hash: what a graph computes, whatever its values are called and came from.

Equal for graphs that differ in names and locations alone; the same on every machine and in every
process. Identical kernels are found by it, and caches are keyed by it.
"""

import hashlib
from collections.abc import Iterator

from lepton_cc.ir.attribute_text import TextWriter
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.types import TensorType

DIGEST_BYTES = 16


def structural_hash(graph: Graph) -> str:
    """32 hexadecimal digits over the ops, their attributes, types and wiring in their order."""
    content = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for line in _lines(graph):
        content.update(line.encode())
        content.update(b"\n")
    return content.hexdigest()


def kind_key(kind: OpKind) -> str:
    """Text that two op kinds share only if they compute the same, to the bit.

    Unlike `==` it tells 0.0 from -0.0, and NaN is equal to itself.
    """
    return f"{kind.mnemonic} {', '.join(_writer().fields(kind))}"


def type_key(type_: TensorType) -> str:
    """Text that two types share only if they are equal."""
    return _writer().type(type_)


def _lines(graph: Graph) -> Iterator[str]:
    numbers: dict[Value, int] = {}
    for value in graph.inputs:
        numbers[value] = len(numbers)
        yield f"input {type_key(value.type)}"
    for op in graph.ops:
        operands = ["_" if v is None else str(numbers[v]) for v in op.operands]
        yield f"{kind_key(op.kind)} ({' '.join(operands)})"
        for result in op.results:
            numbers[result] = len(numbers)
            yield type_key(result.type)
    yield f"return {' '.join(str(numbers[value]) for value in graph.outputs)}"


def _writer() -> TextWriter:
    # What it collects is dropped: constants are known by digest here.
    return TextWriter({}, structural_hash)
