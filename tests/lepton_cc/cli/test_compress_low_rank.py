"""`lepton compress --low-rank`: ONNX Runtime runs what it writes; each layer is accounted for."""

import json
from pathlib import Path

import numpy as np
import onnxruntime

from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.lir_file import read_lir
from tests.lepton_cc.cli.command_line import tool


def test_factors_are_written_and_reported(project_root: Path, tmp_path: Path) -> None:
    images = np.load(project_root / "models" / "digits_samples.npz")["x"]
    np.savez(tmp_path / "data.npz", image=images[:60])
    model, folder = project_root / "models" / "digits_cnn.onnx", tmp_path / "out"
    result = tool(
        "compress", model, "--data", tmp_path / "data.npz", "--low-rank", "0.2", "--no-fit",
        "--quantize", "none", "-o", folder,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = json.loads((folder / "report.json").read_text())
    (stage,) = report["stages"]
    assert stage["stage"] == "low-rank"
    before, after = stage["num_macs"]
    assert after <= 0.8 * before
    assert sum(layer["num_macs"][1] for layer in stage["layers"]) == after
    assert any("form" in layer for layer in stage["layers"])
    assert all("form" in layer or "reason" in layer for layer in stage["layers"])
    graph = read_lir(folder / "digits_cnn.lir")
    session = onnxruntime.InferenceSession(str(folder / "digits_cnn.onnx"))
    (port,) = graph.inputs
    for x in images[60:63]:
        feed = {port.name: x.reshape(port.type.dims)}
        (wanted,) = session.run(None, feed)
        (got,) = interpret(graph, feed).values()
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
