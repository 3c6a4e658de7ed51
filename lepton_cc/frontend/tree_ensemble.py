"""ONNX-ML tree ensembles: their attributes to a forest, its sums to scores and labels."""

from collections.abc import Sequence

import numpy as np

from lepton_cc.frontend.forest import MODES, Forest, predictions
from lepton_cc.frontend.limits import MAX_PARAMETERS, MAX_TABLE_ELEMENTS
from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.reductions import softmax
from lepton_cc.frontend.registry import Operator
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.movement import Concat, Gather
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction as B
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction as U
from lepton_cc.ir.ops.reduce import ArgFunction, ArgReduce
from lepton_cc.ir.tensor import Array

_DOMAIN = "ai.onnx.ml"


def samples(node: NodeView) -> Value:
    """The operand as floats [N, F]; integers become binary32."""
    x = node.operand(0)
    if x.type.rank == 1:
        x = node.reshape(x, (1, *x.type.dims))
    if x.type.rank != 2:
        node.refuse(f"samples {x.type} are no matrix", code=Code.MODEL_MALFORMED)
    return x if x.type.dtype.is_float else node.cast(x, DType.F32)


def post_transformed(node: NodeView, scores: Value, name: str) -> Value:
    """Scores [N, C] after ONNX-ML's post_transform."""
    if name == "NONE":
        return scores
    if name == "SOFTMAX":
        return softmax(node, scores, 1)
    if name == "LOGISTIC":
        return node.unary(U.SIGMOID, scores)
    node.refuse(f"post_transform {name!r} is not supported")


def _numbers(node: NodeView, name: str) -> Array | None:
    """A list of floats, or the tensor that stands in its place."""
    if node.has(f"{name}_as_tensor"):
        return node.tensor(f"{name}_as_tensor")
    return np.asarray(node.floats(name), np.float32) if node.has(name) else None


def _forest(node: NodeView, x: Value, votes: str, outputs: int, fill: float) -> Forest:
    """The forest of a TreeEnsembleClassifier or Regressor; `votes`: class or target."""
    trees, numbers = node.ints("nodes_treeids"), node.ints("nodes_nodeids")
    place = {key: index for index, key in enumerate(zip(trees, numbers, strict=False))}
    modes = node.strings("nodes_modes")
    if set(modes) - MODES.keys():
        node.refuse(f"node modes {sorted(set(modes) - MODES.keys())} are not supported")
    children = np.zeros((len(modes), 2), np.int32)
    branches = (node.ints("nodes_falsenodeids"), node.ints("nodes_truenodeids"))
    weights = _blank(node, len(modes), outputs, fill, x)
    try:
        for column, branch in enumerate(branches):
            for index, target in zip(range(len(modes)), branch, strict=True):
                own = modes[index] == "LEAF"
                children[index, column] = index if own else place[trees[index], target]
        ids = (node.ints(f"{votes}_{part}") for part in ("treeids", "nodeids", "ids"))
        given = _numbers(node, f"{votes}_weights")
        for tree, number, output, weight in zip(
            *ids, () if given is None else given.tolist(), strict=True
        ):
            before = weights[place[tree, number], output]
            weights[place[tree, number], output] = weight if before == fill else before + weight
    except (IndexError, KeyError, ValueError):
        node.refuse("a node or a class that is referred to is not there", code=Code.MODEL_MALFORMED)
    thresholds = _numbers(node, "nodes_values")
    if thresholds is None or thresholds.ndim != 1 or len(trees) != len(modes):
        node.refuse("the lists of nodes differ in length", code=Code.MODEL_MALFORMED)
    missing = node.ints("nodes_missing_value_tracks_true", ())
    first = {tree: index for index, tree in reversed(list(enumerate(trees)))}
    return _checked(
        node,
        x,
        Forest(
            _features(node),
            thresholds.astype(x.type.dtype.numpy),
            modes,
            children,
            np.asarray(missing or (0,) * len(modes), np.bool_),
            np.asarray(sorted(first.values()), np.int32),
            weights,
        ),
    )


def _blank(node: NodeView, nodes: int, outputs: int, fill: float, x: Value) -> Array:
    """The weights before any leaf has voted."""
    if not 0 < outputs <= MAX_PARAMETERS or nodes * outputs > MAX_TABLE_ELEMENTS:
        node.refuse(f"{nodes} nodes with {outputs} outputs each", code=Code.LIMIT_EXCEEDED)
    return np.full((nodes, outputs), fill, x.type.dtype.numpy)


def _features(node: NodeView) -> Array:
    """The features that the nodes compare; a number far outside stays outside."""
    return np.clip(np.asarray(node.ints("nodes_featureids"), np.int64), -1, 2**31 - 1).astype(
        np.int32
    )


def _checked(node: NodeView, x: Value, forest: Forest) -> Forest:
    sizes = {len(forest.thresholds), len(forest.features), len(forest.missing_is_true)}
    inner = np.asarray([mode != "LEAF" for mode in forest.modes], np.bool_)
    used = forest.features[inner] if sizes == {inner.size} else np.full(1, -1)
    if not forest.roots.size or np.any((used < 0) | (used >= x.type.dims[1])):
        node.refuse(f"the trees do not fit {x.type}", code=Code.MODEL_MALFORMED)
    try:
        _ = forest.depth
    except ValueError as error:
        node.refuse(str(error), code=Code.MODEL_MALFORMED)
    return forest


def _with_base(node: NodeView, y: Value) -> Value:
    base = _numbers(node, "base_values")
    if base is None or not np.any(base):
        return y
    return node.binary(B.ADD, y, node.constant_value(base.astype(y.type.dtype.numpy)))


_FILLS = {"MIN": np.finfo(np.float32).max, "MAX": np.finfo(np.float32).min}


def import_regressor(node: NodeView) -> Sequence[Value | None]:
    """TreeEnsembleRegressor; post_transform NONE, SOFTMAX or LOGISTIC."""
    x = samples(node)
    aggregate = node.string("aggregate_function", "SUM")
    fill = float(_FILLS.get(aggregate, 0.0))
    forest = _forest(node, x, "target", node.int("n_targets"), fill)
    y = _with_base(node, predictions(node, forest, x, aggregate))
    y = post_transformed(node, y, node.string("post_transform", "NONE"))
    return (node.cast(y, DType.F32),)


def labelled(node: NodeView, choice: Value, name: str) -> Value:
    """The integer labels of chosen classes."""
    labels = node.ints(name, ())
    if not labels:
        node.refuse("string labels are not supported", "give the classes integer labels")
    return node.emit(Gather(0), node.constant_value(np.asarray(labels, np.int64)), choice)


def _two_classes(
    node: NodeView, forest: Forest, score: Value, transform: str
) -> tuple[Value, Value]:
    """Choice and scores of two classes from the score [N, 1] of the second one."""
    are_probabilities = bool(np.all(forest.weights >= 0))
    limit = 0.5 if are_probabilities else 0.0
    passed = node.binary(B.GREATER, score, limit)
    choice = node.cast(node.reshape(passed, score.type.dims[:1]), DType.I64)
    if are_probabilities:
        one = node.scalar(1, score.type.dtype)
        return choice, node.emit(Concat(1), node.binary(B.SUB, one, score), score)
    both = node.emit(Concat(1), node.unary(U.NEG, score), score)
    return choice, node.unary(U.SIGMOID, both) if transform == "LOGISTIC" else both


def import_classifier(node: NodeView) -> Sequence[Value | None]:
    """TreeEnsembleClassifier with integer labels; post_transform NONE, SOFTMAX or LOGISTIC."""
    x = samples(node)
    labels = node.ints("classlabels_int64s", ())
    if len(labels) < 2:
        node.refuse("fewer than two integer labels", "give the classes integer labels")
    voted = sorted(set(node.ints("class_ids")))
    transform = node.string("post_transform", "NONE")
    forest = _forest(node, x, "class", len(labels), 0.0)
    scores = _with_base(node, predictions(node, forest, x, "SUM"))
    if len(labels) == 2 and voted == [0]:
        # Votes for the first class alone are scores of the second one (ONNX-ML's convention).
        score = node.emit(Gather(1), scores, node.constant_value(np.zeros(1, np.int64)))
        choice, both = _two_classes(node, forest, score, transform)
        return labelled(node, choice, "classlabels_int64s"), node.cast(both, DType.F32)
    choice = node.emit(ArgReduce(ArgFunction.ARGMAX, 1, keep_dims=False), scores)
    scores = post_transformed(node, scores, transform)
    return labelled(node, choice, "classlabels_int64s"), node.cast(scores, DType.F32)


_MODE_NAMES = tuple(f"BRANCH_{name}" for name in ("LEQ", "LT", "GTE", "GT", "EQ", "NEQ"))
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


def import_tree_ensemble(node: NodeView) -> Sequence[Value | None]:
    """TreeEnsemble-5 without set membership; post_transform NONE, SOFTMAX or LOGISTIC."""
    x = samples(node)
    dtype = x.type.dtype.numpy
    numbers = node.tensor("nodes_modes").reshape(-1).tolist()
    if any(not 0 <= number < len(_MODE_NAMES) for number in numbers):
        node.refuse("set membership is not supported")
    inner = len(numbers)
    leaf_targets = np.asarray(node.ints("leaf_targetids"))
    aggregate = _AGGREGATES[node.int("aggregate_function", 1) % len(_AGGREGATES)]
    fill = np.finfo(dtype).max * {"MIN": 1, "MAX": -1}.get(aggregate, 0)
    count, outputs = len(leaf_targets), node.int("n_targets")
    children = np.empty((inner + count, 2), np.int32)
    children[inner:] = np.arange(inner, inner + count).reshape(-1, 1)
    sides = (("nodes_falsenodeids", "nodes_falseleafs"), ("nodes_truenodeids", "nodes_trueleafs"))
    weights = _blank(node, inner + count, outputs, fill, x)
    try:
        for column, (ids, are_leaves) in enumerate(sides):
            target = np.asarray(node.ints(ids))
            children[:inner, column] = target + inner * np.asarray(node.ints(are_leaves))
        given = node.tensor("leaf_weights").reshape(-1)
        weights[inner + np.arange(count), leaf_targets] = given
        if np.any((children < 0) | (children >= inner + count)):
            raise IndexError
    except (IndexError, ValueError, OverflowError):
        node.refuse("a node or a leaf that is referred to is not there", code=Code.MODEL_MALFORMED)
    missing = node.ints("nodes_missing_value_tracks_true", (0,) * inner)
    roots = np.asarray(node.ints("tree_roots"), np.int64)
    if np.any((roots < 0) | (roots >= inner)):
        node.refuse("a root is no node", code=Code.MODEL_MALFORMED)
    splits = node.tensor("nodes_splits").reshape(-1).astype(dtype)
    forest = Forest(
        np.concatenate((_features(node), np.zeros(count, np.int32))),
        np.concatenate((splits, np.zeros(count, dtype))),
        (*(_MODE_NAMES[number] for number in numbers), *("LEAF",) * count),
        children,
        np.asarray((*missing, *(0,) * count), np.bool_),
        roots.astype(np.int32),
        weights,
    )
    y = predictions(node, _checked(node, x, forest), x, aggregate)
    transform = node.int("post_transform", 0)
    return (post_transformed(node, y, _TRANSFORMS[transform % len(_TRANSFORMS)]),)


OPERATORS = (
    Operator(_DOMAIN, "TreeEnsembleRegressor", 1, import_regressor),
    Operator(_DOMAIN, "TreeEnsembleClassifier", 1, import_classifier),
    Operator(_DOMAIN, "TreeEnsemble", 5, import_tree_ensemble),
)
