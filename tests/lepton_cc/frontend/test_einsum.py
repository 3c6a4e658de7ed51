"""Einsum and the signal operators against ONNX's reference evaluator (which calls NumPy)."""

import numpy as np
import pytest

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.diagnostics import Refused
from lepton_cc.ir.ops.matmul import MatMul
from tests.lepton_cc.frontend.node_case import NodeCase, floats

EQUATIONS: dict[str, tuple[tuple[int, ...], ...]] = {
    "ij->ji": ((2, 3),),
    "ij": ((2, 3),),
    "ba": ((2, 3),),
    "ij->": ((2, 3),),
    "ij->j": ((2, 3),),
    "ii": ((3, 3),),
    "ii->i": ((3, 3),),
    "iij->ij": ((3, 3, 2),),
    "ijij->i": ((2, 3, 2, 3),),
    "...ii->...i": ((2, 3, 3),),
    "ij,jk": ((2, 3), (3, 4)),
    "ij,jk->ki": ((2, 3), (3, 4)),
    "i,j->ij": ((2,), (3,)),
    "i,i->": ((4,), (4,)),
    "bij,bjk->bik": ((2, 3, 4), (2, 4, 5)),
    "bhwij,bhjk->bhwk": ((2, 2, 3, 4, 5), (2, 2, 5, 3)),
    "...ij,...jk->...ik": ((2, 1, 3, 4), (5, 4, 2)),
    "...ij,...jk": ((2, 3, 4), (2, 4, 5)),
    "bqhd,bkhd->bhqk": ((2, 3, 4, 5), (2, 6, 4, 5)),
    "bhqk,bkhd->bqhd": ((2, 4, 3, 6), (2, 6, 4, 5)),
    "ij,jk,kl->il": ((2, 3), (3, 4), (4, 5)),
    "a,b,c->abc": ((2,), (3,), (4,)),
    "ij,kj->ik": ((2, 3), (4, 3)),
    "ijk,ijl->kl": ((2, 3, 4), (2, 3, 5)),
    "ij,k->i": ((2, 3), (4,)),
    "i...,i...->...": ((4, 2, 3), (4, 3)),
}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_equation(equation: str) -> None:
    shapes = EQUATIONS[equation]
    operands = tuple(floats(*shape, seed=number) for number, shape in enumerate(shapes))
    NodeCase("Einsum", operands, {"equation": equation}, atol=1e-4).check()


def test_contraction_is_one_matmul() -> None:
    operands = (floats(2, 3, 4, 5), floats(2, 6, 4, 5))
    graph = NodeCase("Einsum", operands, {"equation": "bqhd,bkhd->bhqk"}).graph()
    assert sum(isinstance(op.kind, MatMul) for op in graph.ops) == 1


@pytest.mark.parametrize(
    ("equation", "reason"),
    [("ij,k", "operands"), ("ijk->i", "rank"), ("ij->k", "output"), ("i1->i", "malformed")],
)
def test_malformed_equation_is_refused(equation: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        import_model(NodeCase("Einsum", (floats(2, 3),), {"equation": equation}).model())


SIGNALS = {
    **{
        f"dft-{components}-{inverse}{onesided}-{length}": NodeCase(
            "DFT",
            (floats(2, 10, components), None if length is None else np.array(length)),
            {"inverse": inverse, "onesided": onesided},
            known=(1,),
            atol=1e-4,
        )
        for components in (1, 2)
        for inverse in (0, 1)
        for onesided in (0, 1)
        for length in (None, 7, 16)
        if not onesided or (components == 1 and not inverse)
    },
    "dft-axis": NodeCase("DFT", (floats(2, 6, 3, 1), None, np.array(1)), known=(2,), atol=1e-4),
    "dft-17": NodeCase("DFT", (floats(2, 6, 3, 2),), {"axis": 2}, opset=17, atol=1e-4),
    **{
        f"stft-{onesided}": NodeCase(
            "STFT",
            (floats(2, 40, 1), np.array(6), np.abs(floats(16)), np.array(16)),
            {"onesided": onesided},
            known=(1, 2, 3),
            atol=1e-4,
        )
        for onesided in (0, 1)
    },
    **{
        f"{name}-{periodic}": NodeCase(name, (np.array(9),), {"periodic": periodic}, known=(0,))
        for name in ("HannWindow", "HammingWindow", "BlackmanWindow")
        for periodic in (0, 1)
    },
    **{
        f"mel-{bins}": NodeCase(
            "MelWeightMatrix",
            (
                np.array(bins),
                np.array(64),
                np.array(16000),
                np.array(20.0, np.float32),
                np.array(7600.0, np.float32),
            ),
            known=(0, 1, 2, 3, 4),
        )
        for bins in (8, 40)
    },
}


@pytest.mark.parametrize("name", SIGNALS)
def test_signal(name: str) -> None:
    SIGNALS[name].check()
