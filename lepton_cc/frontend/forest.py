"""Decision trees as data, and their evaluation by the IR's gathers and selects.

All trees of a model are one table of nodes. A sample holds one place in each tree; every level of
the deepest tree moves all places by one comparison, and leaves point at themselves.
"""

from dataclasses import dataclass

import numpy as np

from lepton_cc.frontend.node import NodeView
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.movement import Gather
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction as B
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction as U
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction
from lepton_cc.ir.tensor import Array

# What a comparison x ? threshold of each mode accepts: less, equal, greater, NaN.
MODES: dict[str, tuple[bool, bool, bool, bool]] = {
    "BRANCH_LEQ": (True, True, False, False),
    "BRANCH_LT": (True, False, False, False),
    "BRANCH_GTE": (False, True, True, False),
    "BRANCH_GT": (False, False, True, False),
    "BRANCH_EQ": (False, True, False, False),
    "BRANCH_NEQ": (True, False, True, True),
    "LEAF": (False, False, False, False),
}
_UNIFORM = {
    "BRANCH_LEQ": B.LESS_EQUAL,
    "BRANCH_LT": B.LESS,
    "BRANCH_GTE": B.GREATER_EQUAL,
    "BRANCH_GT": B.GREATER,
    "BRANCH_EQ": B.EQUAL,
    "BRANCH_NEQ": B.NOT_EQUAL,
}


@dataclass(frozen=True, slots=True)
class Forest:
    """Nodes of all trees, numbered 0 to K - 1.

    features i32 and thresholds (of the samples' dtype) [K]; modes: K names of `MODES`; children
    i32 [K, 2], taken when the comparison is false or true (a leaf's are itself); missing_is_true:
    where a NaN counts as true [K]; roots i32 [T]; weights [K, outputs] of the leaves.
    """

    features: Array
    thresholds: Array
    modes: tuple[str, ...]
    children: Array
    missing_is_true: Array
    roots: Array
    weights: Array

    @property
    def depth(self) -> int:
        """Comparisons on the longest way from a root to a leaf.

        Raises:
            ValueError: the nodes form no trees.
        """
        places = np.unique(self.roots)
        for depth in range(len(self.modes) + 1):
            if all(self.modes[place] == "LEAF" for place in places.tolist()):
                return depth
            places = np.unique(self.children[places])
        raise ValueError("a way through the nodes never ends")


def _looked_up(node: NodeView, table: Array, place: Value) -> Value:
    return node.emit(Gather(0), node.constant_value(table), place)


def _comparison(node: NodeView, forest: Forest, x: Value, place: Value) -> Value:
    """Whether each sample's feature passes the comparison at its place."""
    threshold = _looked_up(node, forest.thresholds, place)
    inner = {mode for mode in forest.modes if mode != "LEAF"}
    if len(inner) == 1:
        passed = node.binary(_UNIFORM[inner.pop()], x, threshold)
    else:
        accepts = np.asarray([MODES[mode] for mode in forest.modes])
        passed = node.constant_value(np.zeros((), np.bool_))
        for index, function in enumerate((B.LESS, B.EQUAL, B.GREATER)):
            holds = node.binary(function, x, threshold)
            wanted = _looked_up(node, accepts[:, index], place)
            passed = node.binary(B.OR, passed, node.binary(B.AND, holds, wanted))
        is_nan = node.unary(U.IS_NAN, x)
        wanted = _looked_up(node, accepts[:, 3], place)
        passed = node.binary(B.OR, passed, node.binary(B.AND, is_nan, wanted))
    if np.any(forest.missing_is_true):
        missing = node.unary(U.IS_NAN, x)
        wanted = _looked_up(node, forest.missing_is_true, place)
        passed = node.binary(B.OR, passed, node.binary(B.AND, missing, wanted))
    return passed


def leaves(node: NodeView, forest: Forest, x: Value) -> Value:
    """The leaf (i32) that each sample of x [N, F] reaches in each tree, [N, T]."""
    samples, features = x.type.dims
    flat = node.reshape(x, (samples * features,))
    rows = node.constant_value((np.arange(samples, dtype=np.int32) * features).reshape(-1, 1))
    place = node.constant_value(np.tile(forest.roots, (samples, 1)).astype(np.int32))
    for _ in range(forest.depth):
        feature = node.folded(_looked_up(node, forest.features, place))
        picked = node.emit(Gather(0), flat, node.binary(B.ADD, feature, rows))
        passed = _comparison(node, forest, picked, place)
        branch = node.binary(B.ADD, node.binary(B.MUL, place, 2), node.cast(passed, DType.I32))
        place = _looked_up(node, forest.children.reshape(-1), branch)
    return place


def predictions(node: NodeView, forest: Forest, x: Value, aggregate: str) -> Value:
    """The leaves' weights of all trees combined, [N, outputs]."""
    functions = {
        "SUM": ReduceFunction.SUM,
        "AVERAGE": ReduceFunction.SUM,
        "MIN": ReduceFunction.MIN,
        "MAX": ReduceFunction.MAX,
    }
    if aggregate not in functions:
        node.refuse(f"aggregate_function {aggregate!r} is unknown")
    weights = _looked_up(node, forest.weights, leaves(node, forest, x))
    total = node.emit(Reduce(functions[aggregate], (1,), keep_dims=False), weights)
    return node.binary(B.DIV, total, len(forest.roots)) if aggregate == "AVERAGE" else total
