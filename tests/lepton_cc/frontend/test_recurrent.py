"""LSTM, GRU and RNN: import, interpreter and the pass that lowers them, against ONNX Runtime."""

import itertools

import numpy as np
import pytest

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.diagnostics import Refused
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.recurrent import RecurrentLayer
from lepton_cc.ir.ops.scan import GruScan, LstmScan, RnnScan
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.passes.lower_recurrent import LowerRecurrent
from tests.lepton_cc.frontend.node_case import NodeCase, floats

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
STEPS, BATCH, FEATURES, HIDDEN = 5, 3, 4, 2


def layer(
    op_type: str,
    *,
    direction: str = "forward",
    bias: bool = True,
    states: bool = False,
    lengths: tuple[int, ...] = (),
    peepholes: bool = False,
    known: bool = True,
    layout: int = 0,
    **attributes: object,
) -> NodeCase:
    """A layer with weights that are known (or inputs of the graph)."""
    directions = 2 if direction == "bidirectional" else 1
    rows = GATES[op_type] * HIDDEN
    state = floats(directions, BATCH, HIDDEN, seed=5)
    x = floats(STEPS, BATCH, FEATURES)
    if layout:
        x, state = x.transpose(1, 0, 2), state.transpose(1, 0, 2)
    operands = [
        x,
        floats(directions, rows, FEATURES, seed=1),
        floats(directions, rows, HIDDEN, seed=2),
        floats(directions, 2 * rows, seed=3) if bias else None,
        np.asarray(lengths, np.int32) if lengths else None,
        state if states else None,
    ]
    if op_type == "LSTM":
        operands += [state * 2 if states else None]
        operands += [floats(directions, 3 * HIDDEN, seed=4) if peepholes else None]
    return NodeCase(
        op_type,
        operands,
        {"hidden_size": HIDDEN, "direction": direction, "layout": layout, **attributes},
        known=(1, 2, 3, 7) if known else (),
        num_outputs=3 if op_type == "LSTM" else 2,
        onnxruntime=not layout,
    )


CASES = {
    f"{op_type}-{direction}-{name}": layer(op_type, direction=direction, **options)  # type: ignore[arg-type]  # a table of keyword arguments
    for op_type, direction, (name, options) in itertools.product(
        GATES,
        ("forward", "reverse", "bidirectional"),
        {
            "plain": {},
            "no-bias": {"bias": False},
            "states": {"states": True},
            "lengths": {"lengths": (5, 2, 3), "states": True},
            "clip": {"clip": 0.3, "states": True},
            "weights-as-inputs": {"known": False},
        }.items(),
    )
}
CASES |= {
    "LSTM-peepholes": layer("LSTM", peepholes=True, states=True),
    "LSTM-peepholes-clip": layer("LSTM", peepholes=True, clip=0.5),
    "LSTM-input-forget": layer("LSTM", input_forget=1, states=True),
    "LSTM-activations": layer("LSTM", activations=["HardSigmoid", "Relu", "Softsign"]),
    "LSTM-activations-of-directions": layer(
        "LSTM",
        direction="bidirectional",
        activations=["Sigmoid", "ScaledTanh", "Tanh", "HardSigmoid", "Elu", "Affine"],
        activation_alpha=[0.7, 0.3, 0.9, 1.5],
        activation_beta=[0.8, 0.4, 0.1],
    ),
    "GRU-linear-before-reset": layer("GRU", linear_before_reset=1, states=True),
    "GRU-linear-no-bias": layer("GRU", linear_before_reset=1, bias=False),
    "GRU-linear-both-ways": layer("GRU", linear_before_reset=1, direction="bidirectional"),
    "GRU-linear-clip": layer("GRU", linear_before_reset=1, clip=0.4),
    "GRU-activations": layer("GRU", activations=["Sigmoid", "Softplus"]),
    **{
        f"RNN-{name}": layer("RNN", activations=[name])
        for name in ("LeakyRelu", "Elu", "Softplus", "Relu")
    },
    "RNN-threshold": layer("RNN", activations=["ThresholdedRelu"], activation_alpha=[0.6]),
    "RNN-affine": layer(
        "RNN", activations=["Affine"], activation_alpha=[0.6], activation_beta=[-0.3]
    ),
    "RNN-alpha": layer("RNN", activations=["LeakyRelu"], activation_alpha=[0.4]),
    **{f"{op_type}-layout": layer(op_type, layout=1) for op_type in GATES},
}


@pytest.mark.parametrize("name", CASES)
def test_against_oracle(name: str) -> None:
    CASES[name].check()


@pytest.mark.parametrize("name", CASES)
def test_lowered_graph_means_the_same(name: str) -> None:
    case = CASES[name]
    graph = case.graph()
    lowered = LowerRecurrent().run(graph, Statistics())
    kinds = [op.kind for op in lowered.ops]
    assert not any(isinstance(kind, RecurrentLayer) for kind in kinds)
    assert any(isinstance(kind, LstmScan | GruScan | RnnScan) for kind in kinds)
    for got, want in zip(case.interpreted(lowered), case.interpreted(graph), strict=True):
        np.testing.assert_array_equal(got, want)


def test_full_lengths_cost_nothing() -> None:
    case = layer("GRU", lengths=(STEPS,) * BATCH)
    model = NodeCase(case.op_type, case.operands, case.attributes, (1, 2, 3, 4), 2)
    (op,) = [op for op in model.graph().ops if isinstance(op.kind, RecurrentLayer)]
    assert all(v is None or v.type.dtype is DType.F32 for v in op.operands)


def test_unknown_activation_is_refused() -> None:
    with pytest.raises(Refused, match="'Mish' is none of"):
        import_model(layer("RNN", activations=["Mish"]).model())
