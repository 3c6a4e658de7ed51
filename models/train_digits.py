"""Trains the digit models and writes them as ONNX, with held-out samples beside them.

Run `python -m models.train_digits` from the top of the checkout, with the `train` extra installed.
"""

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from models.digits import Digits, load_split, samples
from models.networks import NETWORKS, Network
from models.onnx_writer import to_onnx

FOLDER = Path(__file__).parent
NUM_EPOCHS = 80
BATCH = 64
SEED = 20


def train(network: Network, part: Digits) -> nn.Module:
    """The network, fitted with Adam on randomly shifted images, in evaluation mode."""
    torch.manual_seed(SEED)
    layer = network.build()
    images, labels = torch.from_numpy(part.images), torch.from_numpy(part.labels)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=4e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, NUM_EPOCHS)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    for _ in range(NUM_EPOCHS):
        for rows in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad()
            loss_of(layer(shifted(images[rows])), labels[rows]).backward()
            optimizer.step()
        schedule.step()
    return layer.eval()


def shifted(images: torch.Tensor) -> torch.Tensor:
    """The batch moved together by -1, 0 or 1 pixel each way, against overfitting."""
    down, right = (int(torch.randint(-1, 2, ())) for _ in range(2))
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    return padded[:, :, 1 - down : 9 - down, 1 - right : 9 - right]


def predict_torch(layer: nn.Module, images: NDArray[np.float32]) -> NDArray[np.int64]:
    """The classes that the training framework predicts, `[n]`."""
    with torch.no_grad():
        classes: NDArray[np.int64] = layer(torch.from_numpy(images)).argmax(dim=1).numpy()
    return classes


def predict_onnx(path: Path, images: NDArray[np.float32]) -> NDArray[np.int64]:
    """The classes that ONNX Runtime predicts from the file, one image at a time, `[n]`."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = [session.run(None, {"image": image[None]})[0][0] for image in images]
    classes: NDArray[np.int64] = np.stack(rows).argmax(axis=1)
    return classes


def main() -> None:
    """Train, write and check every network; print a row of models/README.md for each."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    training, held_out = load_split()
    for network in NETWORKS:
        layer = train(network, training)
        path = FOLDER / f"{network.name}.onnx"
        path.write_bytes(to_onnx(layer, network.name, softmax=network.softmax).SerializeToString())
        classes = predict_torch(layer, held_out.images)
        if not np.array_equal(classes, predict_onnx(path, held_out.images)):
            raise SystemExit(f"{path.name}: ONNX Runtime and PyTorch predict different classes")
        right = int((classes == held_out.labels).sum())
        num_weights = sum(weight.numel() for weight in layer.parameters())
        print(
            f"| `{path.name}` | {num_weights:,} | {path.stat().st_size:,} "
            f"| {right} of {len(classes)} | {right / len(classes):.1%} |"
        )
    kept = samples(held_out)
    np.savez_compressed(FOLDER / "digits_samples.npz", x=kept.images, y=kept.labels)


if __name__ == "__main__":
    main()
