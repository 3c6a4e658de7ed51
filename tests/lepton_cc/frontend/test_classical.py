"""ONNX-ML: tree ensembles, linear models and feature operators against ONNX Runtime."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.diagnostics import Refused
from lepton_cc.ir.tensor import Array
from tests.lepton_cc.frontend.node_case import NodeCase, floats, integers

TESTED = floats(40, 12)


@dataclass(frozen=True)
class Tree:
    """A tree as arrays over its nodes; a leaf has no left child (-1). value is [nodes, outputs]."""

    left: list[int]
    right: list[int]
    feature: list[int]
    threshold: list[float]
    value: Array

    @staticmethod
    def grown(seed: int, outputs: int, depth: int = 5) -> "Tree":
        """A tree of random splits whose leaves hold random values."""
        rng = np.random.default_rng((seed, outputs, depth))
        left, right, feature, threshold = [-1], [-1], [0], [0.0]
        levels = [0]
        for place in range(2 ** (depth + 1)):
            if place >= len(left) or levels[place] == depth or (place and rng.random() < 0.2):
                continue
            left[place], right[place] = len(left), len(left) + 1
            feature[place] = int(rng.integers(TESTED.shape[1]))
            threshold[place] = float(np.float32(rng.standard_normal()))
            for column, fill in ((left, -1), (right, -1), (feature, 0)):
                column.extend((fill, fill))
            threshold.extend((0.0, 0.0))
            levels.extend((levels[place] + 1,) * 2)
        return Tree(left, right, feature, threshold, rng.standard_normal((len(left), outputs)))


def _nodes(trees: Sequence[Tree]) -> dict[str, list[Any]]:
    """The nodes of trees as ONNX-ML attributes."""
    table: dict[str, list[Any]] = {
        f"nodes_{name}": []
        for name in (
            *("treeids", "nodeids", "featureids", "values"),
            *("modes", "truenodeids", "falsenodeids"),
        )
    }
    for number, tree in enumerate(trees):
        for place, left in enumerate(tree.left):
            leaf = left < 0
            row = (
                *(number, place, tree.feature[place], tree.threshold[place]),
                "LEAF" if leaf else "BRANCH_LEQ",
                *((0, 0) if leaf else (left, tree.right[place])),
            )
            for column, value in zip(table.values(), row, strict=True):
                column.append(value)
    return table


def _votes(kind: str, trees: Sequence[Tree], outputs: Sequence[int]) -> dict[str, Any]:
    """The leaves' weights; tree i votes for all outputs, or for outputs[i] if it has one value."""
    rows = [
        (number, place, output, float(value))
        for number, tree in enumerate(trees)
        for place, left in enumerate(tree.left)
        if left < 0
        for output, value in (
            enumerate(tree.value[place])
            if tree.value.shape[1] > 1
            else [(outputs[number], tree.value[place, 0])]
        )
    ]
    names = ("treeids", "nodeids", "ids", "weights")
    return {
        f"{kind}_{name}": list(column)
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def _case(op_type: str, x: Array, attributes: Mapping[str, Any], outputs: int = 1) -> NodeCase:
    return NodeCase(
        op_type, (x,), attributes, num_outputs=outputs, domain="ai.onnx.ml", onnxruntime=True
    )


def _classifier(
    trees: Sequence[Tree], labels: Sequence[int], votes: Sequence[int], transform: str
) -> NodeCase:
    attributes = _nodes(trees) | _votes("class", trees, votes)
    attributes |= {"classlabels_int64s": list(labels), "post_transform": transform}
    return _case("TreeEnsembleClassifier", TESTED, attributes, 2)


def _cases() -> dict[str, NodeCase]:
    forest = [Tree.grown(i, 10) for i in range(7)]
    boosted = [Tree.grown(i, 1, depth=3) for i in range(30)]
    few = boosted[:5]
    positive = [replace(tree, value=np.abs(tree.value) / 8) for tree in few]
    labels = range(10, 20)
    regressors = boosted[:3]
    regressor = _nodes(regressors) | _votes("target", regressors, [0, 0, 0]) | {"n_targets": 1}
    modes = [
        mode if mode == "LEAF" else ("BRANCH_LT", "BRANCH_GTE", "BRANCH_GT")[i % 3]
        for i, mode in enumerate(regressor["nodes_modes"])
    ]
    return {
        "forest": _classifier(forest, labels, [], "NONE"),
        "forest-softmax": _classifier(forest, labels, [], "SOFTMAX"),
        "boosted": _classifier(boosted, labels, [*range(10)] * 3, "SOFTMAX"),
        "two-classes": _classifier(few, [0, 1], [0] * 5, "LOGISTIC"),
        "two-classes-second": _classifier(few, [0, 1], [1] * 5, "LOGISTIC"),
        "two-classes-raw": _classifier(few, [3, 8], [0] * 5, "NONE"),
        "two-classes-probabilities": _classifier(positive, [3, 8], [0] * 5, "NONE"),
        **{
            f"regressor-{name}": _case(
                "TreeEnsembleRegressor", TESTED, regressor | {"aggregate_function": name}
            )
            for name in ("SUM", "AVERAGE", "MIN", "MAX")
        },
        "regressor-base": _case(
            "TreeEnsembleRegressor", TESTED, regressor | {"base_values": [3.5]}
        ),
        "regressor-modes": _case(
            "TreeEnsembleRegressor", TESTED, regressor | {"nodes_modes": modes}
        ),
        "regressor-double": _case("TreeEnsembleRegressor", TESTED.astype(np.float64), regressor),
    }


FEATURES = floats(6, 4)
CASES = {
    **_cases(),
    "scaler": _case(
        "Scaler", FEATURES, {"offset": [0.1, 0.2, 0.3, 0.4], "scale": [1.0, 2.0, 0.5, 3.0]}
    ),
    "scaler-integers": _case(
        "Scaler", integers(-9, 9, 6, 4), {"offset": [0.5] * 4, "scale": [2.0] * 4}
    ),
    **{
        f"normalizer-{norm}": _case("Normalizer", np.abs(FEATURES), {"norm": norm})
        for norm in ("MAX", "L1", "L2")
    },
    "binarizer": _case("Binarizer", FEATURES, {"threshold": 0.3}),
    "imputer": _case(
        "Imputer",
        np.where(FEATURES > 0.5, np.nan, FEATURES).astype(np.float32),
        {"imputed_value_floats": [1.0, 2.0, 3.0, 4.0], "replaced_value_float": float("nan")},
    ),
    "imputer-number": _case(
        "Imputer",
        integers(0, 3, 6, 4).astype(np.float32),
        {"imputed_value_floats": [7.0], "replaced_value_float": 1.0},
    ),
    "extractor": NodeCase(
        "ArrayFeatureExtractor", (FEATURES, np.array([2, 0])), domain="ai.onnx.ml", onnxruntime=True
    ),
    "linear-regressor": _case(
        "LinearRegressor",
        FEATURES,
        {"coefficients": floats(8, seed=1).tolist(), "intercepts": [0.5, -1.0], "targets": 2},
    ),
    **{
        f"linear-classifier-{transform}": _case(
            "LinearClassifier",
            FEATURES,
            {
                "coefficients": floats(12, seed=1).tolist(),
                "intercepts": [0.5, -1.0, 0.1],
                "classlabels_ints": [4, 5, 9],
                "post_transform": transform,
            },
            2,
        )
        for transform in ("NONE", "SOFTMAX", "LOGISTIC")
    },
}


@pytest.mark.parametrize("name", CASES)
def test_against_onnxruntime(name: str) -> None:
    CASES[name].check()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"nodes_truenodeids": 99}, "referred to"),
        ({"nodes_featureids": 12}, "do not fit"),
        ({"nodes_modes": "BRANCH_MEMBER"}, "not supported"),
        ({"nodes_truenodeids": 0}, "never ends"),
    ],
)
def test_broken_trees_are_refused(change: dict[str, Any], reason: str) -> None:
    given = dict(CASES["regressor-SUM"].attributes)
    for name, value in change.items():
        given[name] = [value, *given[name][1:]]
    with pytest.raises(Refused, match=reason):
        import_model(_case("TreeEnsembleRegressor", TESTED, given).model())


def test_string_labels_are_refused() -> None:
    attributes = {"coefficients": [1.0] * 8, "classlabels_strings": ["a", "b"]}
    with pytest.raises(Refused, match="integer labels"):
        import_model(_case("LinearClassifier", FEATURES, attributes, 2).model())
