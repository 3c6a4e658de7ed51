"""ONNX-ML's feature operators and linear models."""

import math
from collections.abc import Sequence

import numpy as np

from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.frontend.tree_ensemble import labelled, post_transformed, samples
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Concat, Gather
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction as B
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction as U
from lepton_cc.ir.ops.reduce import ArgFunction, ArgReduce, Reduce, ReduceFunction

_DOMAIN = "ai.onnx.ml"


def _floats(node: NodeView) -> Value:
    return node.cast(node.operand(0), DType.F32)


def _row(node: NodeView, name: str, size: int) -> Value:
    """A list attribute as constants that broadcast along the features."""
    values = np.asarray(node.floats(name), np.float32)
    if values.size not in (1, size):
        node.refuse(f"{name} has {values.size} entries for {size} features")
    return node.constant_value(values)


def import_scaler(node: NodeView) -> Sequence[Value | None]:
    """Scaler: (x - offset) scale."""
    x = _floats(node)
    size = x.type.dims[-1] if x.type.rank else 1
    shifted = node.binary(B.SUB, x, _row(node, "offset", size))
    return (node.binary(B.MUL, shifted, _row(node, "scale", size)),)


def import_normalizer(node: NodeView) -> Sequence[Value | None]:
    """Normalizer: each row over its MAX, L1 or L2 norm."""
    x = _floats(node)
    norm, axes = node.string("norm", "MAX"), (x.type.rank - 1,)
    if norm == "MAX":
        divisor = node.emit(Reduce(ReduceFunction.MAX, axes), node.unary(U.ABS, x))
    elif norm == "L1":
        divisor = node.emit(Reduce(ReduceFunction.SUM, axes), node.unary(U.ABS, x))
    elif norm == "L2":
        square = node.emit(Reduce(ReduceFunction.SUM, axes), node.binary(B.MUL, x, x))
        divisor = node.unary(U.SQRT, square)
    else:
        node.refuse(f"norm {norm!r} is unknown", code=Code.MODEL_MALFORMED)
    return (node.binary(B.DIV, x, node.binary(B.MAX, divisor, 1e-30)),)


def import_binarizer(node: NodeView) -> Sequence[Value | None]:
    """Binarizer: 1 above the threshold, else 0."""
    x = node.operand(0)
    above = node.binary(B.GREATER, x, node.float("threshold", 0.0))
    return (node.cast(above, x.type.dtype),)


def import_array_feature_extractor(node: NodeView) -> Sequence[Value | None]:
    """ArrayFeatureExtractor: columns by their indices."""
    x, indices = node.operand(0), node.operand(1)
    x = node.reshape(x, (1, *x.type.dims)) if x.type.rank == 1 else x
    flat = node.reshape(indices, (indices.type.num_elements,))
    return (node.emit(Gather(x.type.rank - 1), x, flat),)


def import_feature_vectorizer(node: NodeView) -> Sequence[Value | None]:
    """FeatureVectorizer: the inputs' columns side by side, as floats."""
    parts = []
    for index in range(len(node.operands)):
        x = node.cast(node.operand(index), DType.F32)
        rows = x.type.dims[0] if x.type.rank > 1 else 1
        parts.append(node.reshape(x, (rows, x.type.num_elements // max(rows, 1))))
    return (node.emit(Concat(1), *parts),)


def import_imputer(node: NodeView) -> Sequence[Value | None]:
    """Imputer: puts a value for each column in the place of a number or NaN."""
    x = node.operand(0)
    kind = x.type.dtype
    if kind.is_float:
        filling = np.asarray(node.floats("imputed_value_floats"))
        replaced: float = node.float("replaced_value_float", 0.0)
    else:
        filling = np.asarray(node.ints("imputed_value_int64s"))
        replaced = node.int("replaced_value_int64", 0)
    is_nan = math.isnan(replaced)
    missing = node.unary(U.IS_NAN, x) if is_nan else node.binary(B.EQUAL, x, replaced)
    return (node.select(missing, node.constant_value(filling.astype(kind.numpy)), x),)


def _linear(node: NodeView, x: Value, outputs: int) -> Value:
    """x W + b with the rows of `coefficients` as outputs."""
    dtype = x.type.dtype.numpy
    weights = np.asarray(node.floats("coefficients"))
    if weights.size != outputs * x.type.dims[1]:
        node.refuse(f"{weights.size} coefficients for {x.type}", code=Code.MODEL_MALFORMED)
    right = node.constant_value(weights.reshape(outputs, -1).T.astype(dtype))
    if not node.has("intercepts"):
        return node.emit(MatMul(), x, right)
    bias = node.constant_value(np.asarray(node.floats("intercepts")).astype(dtype))
    return node.emit(MatMul(), x, right, bias)


def import_linear_regressor(node: NodeView) -> Sequence[Value | None]:
    """LinearRegressor; post_transform NONE, SOFTMAX or LOGISTIC."""
    y = _linear(node, samples(node), node.int("targets", 1))
    y = post_transformed(node, y, node.string("post_transform", "NONE"))
    return (node.cast(y, DType.F32),)


def import_linear_classifier(node: NodeView) -> Sequence[Value | None]:
    """LinearClassifier with integer labels; post_transform NONE, SOFTMAX or LOGISTIC."""
    x = samples(node)
    classes = len(node.ints("classlabels_ints", ()))
    rows = len(node.floats("coefficients")) // max(x.type.dims[1], 1)
    scores = _linear(node, x, rows)
    if rows == 1 and classes == 2:
        scores = node.emit(Concat(1), node.unary(U.NEG, scores), scores)
    elif rows != classes:
        node.refuse(f"{rows} scores for {classes} integer labels", "give integer labels")
    choice = node.emit(ArgReduce(ArgFunction.ARGMAX, 1, keep_dims=False), scores)
    scores = post_transformed(node, scores, node.string("post_transform", "NONE"))
    return labelled(node, choice, "classlabels_ints"), node.cast(scores, DType.F32)


_IMPORTERS = {
    "Scaler": import_scaler,
    "Normalizer": import_normalizer,
    "Binarizer": import_binarizer,
    "ArrayFeatureExtractor": import_array_feature_extractor,
    "FeatureVectorizer": import_feature_vectorizer,
    "Imputer": import_imputer,
    "LinearRegressor": import_linear_regressor,
    "LinearClassifier": import_linear_classifier,
}

OPERATORS = tuple(Operator(_DOMAIN, name, 1, importer) for name, importer in _IMPORTERS.items())
