"""The committed models are what models/README.md says: small, valid, and right on real digits."""

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

MAX_BYTES = 200_000

# Model to its output's name and the fewest of the 100 kept samples that it classifies right.
MODELS = {
    "digits_cnn": ("logits", 99),
    "digits_dscnn": ("probabilities", 98),
    "digits_gru": ("logits", 93),
    "digits_lstm": ("logits", 95),
}


@pytest.fixture(scope="module")
def models_dir(project_root: Path) -> Path:
    return project_root / "models"


def test_every_model_is_tested_and_documented(models_dir: Path) -> None:
    on_disk = {path.stem for path in models_dir.glob("*.onnx")}
    documented = set(re.findall(r"`(\w+)\.onnx`", (models_dir / "README.md").read_text("utf-8")))
    assert on_disk == set(MODELS)
    assert documented == on_disk


@pytest.mark.parametrize("name", MODELS)
def test_model_is_small_and_keeps_its_interface(models_dir: Path, name: str) -> None:
    path = models_dir / f"{name}.onnx"
    assert path.stat().st_size < MAX_BYTES
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17)]
    assert _interface(model.graph.input) == [("image", [1, 1, 8, 8])]
    assert _interface(model.graph.output) == [(MODELS[name][0], [1, 10])]


@pytest.mark.parametrize("name", MODELS)
def test_model_classifies_the_kept_samples(models_dir: Path, name: str) -> None:
    output, fewest_right = MODELS[name]
    samples = np.load(models_dir / "digits_samples.npz")
    session = onnxruntime.InferenceSession(models_dir / f"{name}.onnx")
    rows = [session.run([output], {"image": image[None]})[0][0] for image in samples["x"]]
    num_right = int((np.stack(rows).argmax(axis=1) == samples["y"]).sum())
    assert num_right >= fewest_right


def test_samples_are_images_in_range(models_dir: Path) -> None:
    samples = np.load(models_dir / "digits_samples.npz")
    assert samples["x"].shape == (100, 1, 8, 8)
    assert samples["x"].dtype == np.float32
    assert samples["x"].min() == 0.0
    assert samples["x"].max() == 1.0
    assert samples["y"].shape == (100,)
    assert set(samples["y"]) == set(range(10))


def _interface(values: list[onnx.ValueInfoProto]) -> list[tuple[str, list[int]]]:
    return [
        (value.name, [dim.dim_value for dim in value.type.tensor_type.shape.dim])
        for value in values
    ]
