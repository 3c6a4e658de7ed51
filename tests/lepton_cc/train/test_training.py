"""Training with PyTorch: what is trained is what the interpreter, ONNX Runtime and our code run.

All in one file, and PyTorch only inside of tests: importing it takes a second and a half.
"""

import importlib.util
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import lepton_cc
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.diagnostics import Refused, ToolchainError, UsageError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.elementwise import Binary, Clamp, Select, Unary
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Broadcast, Concat, Pad, PadMode, Reshape, Slice, Transpose
from lepton_cc.ir.ops.normalization import LayerNorm, RmsNorm
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.ops.pool import AveragePool, MaxPool
from lepton_cc.ir.ops.reduce import ArgFunction, ArgReduce, Reduce, ReduceFunction, Softmax
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.quantize.weight_rounding import WeightScheme
from tests.lepton_cc.cli.command_line import tool

GENERATOR = np.random.default_rng(7)
IMAGE = (1, 6, 5, 4)
UNEVEN = Window((3, 2), (2, 1), (1, 1), (0, 1), (1, 0))


@pytest.fixture(scope="module")
def torch() -> Any:
    module = pytest.importorskip("torch", reason="the extra `train` is not installed")
    module.set_num_threads(1)
    return module


def normal(*dims: int) -> Any:
    return GENERATOR.standard_normal(dims).astype(np.float32)


def one_op(dims: tuple[int, ...], add: Callable[[GraphBuilder, Value], Value]) -> Graph:
    builder = GraphBuilder("one_op")
    x = builder.input("x", TensorType(DType.F32, dims))
    y = add(builder, x)
    return builder.finish((y,), ("y",))


def _leaky_relu(builder: GraphBuilder, x: Value) -> Value:
    zero, slope = (builder.constant(np.asarray(number, np.float32)) for number in (0.0, 0.1))
    below = builder.emit(Binary(BinaryFunction.LESS), x, zero)
    return builder.emit(Select(), below, builder.emit(Binary(BinaryFunction.MUL), slope, x), x)


OPS: dict[str, Graph] = {
    "conv": one_op(
        IMAGE, lambda b, x: b.emit(Conv(UNEVEN), x, b.constant(normal(3, 2, 4, 5)), None)
    ),
    "grouped": one_op(
        IMAGE,
        lambda b, x: b.emit(
            Conv(Window((3, 3), (1, 1), (2, 1), (2, 1), (2, 1)), 2),
            x,
            b.constant(normal(3, 3, 2, 6)),
            b.constant(normal(6)),
        ),
    ),
    "depthwise": one_op(
        (1, 7, 4),
        lambda b, x: b.emit(
            Conv(Window((3,), (1,), (1,), (1,), (1,)), 4), x, b.constant(normal(3, 1, 4))
        ),
    ),
    "matmul": one_op(
        (1, 6), lambda b, x: b.emit(MatMul(), x, b.constant(normal(6, 3)), b.constant(normal(3)))
    ),
    "stacked": one_op(
        (1, 2, 3, 6), lambda b, x: b.emit(MatMul(), x, b.emit(Transpose((0, 1, 3, 2)), x))
    ),
    "relu": one_op(IMAGE, lambda b, x: b.emit(Clamp(0.0, math.inf), x)),
    "clip": one_op(IMAGE, lambda b, x: b.emit(Clamp(-0.5, 0.75), x)),
    "max": one_op(IMAGE, lambda b, x: b.emit(MaxPool(UNEVEN), x)),
    "mean": one_op(IMAGE, lambda b, x: b.emit(AveragePool(UNEVEN), x)),
    "mean_with_padding": one_op(
        IMAGE, lambda b, x: b.emit(AveragePool(UNEVEN, count_padding=True, uncounted=(1, 0)), x)
    ),
    "softmax": one_op(IMAGE, lambda b, x: b.emit(Softmax(2), x)),
    "log_softmax": one_op(IMAGE, lambda b, x: b.emit(Softmax(3, log=True), x)),
    "reshape": one_op(IMAGE, lambda b, x: b.emit(Reshape((1, 30, 4)), x)),
    "broadcast": one_op((1, 1, 4), lambda b, x: b.emit(Broadcast((1, 3, 4)), x)),
    "concat": one_op(IMAGE, lambda b, x: b.emit(Concat(3), x, b.emit(Clamp(0.0, 1.0), x))),
    "slice": one_op(IMAGE, lambda b, x: b.emit(Slice((0, 1, 0, 2), (1, 2, 5, 1), (1, 3, 1, 1)), x)),
    "pad": one_op(
        IMAGE,
        lambda b, x: b.emit(
            Pad((0, 1, 0, 2), (0, 0, 3, 0)), x, b.constant(np.asarray(0.5, np.float32))
        ),
    ),
    "reduce_mean": one_op(
        IMAGE, lambda b, x: b.emit(Reduce(ReduceFunction.MEAN, (1, 2), keep_dims=False), x)
    ),
    "layer_norm": one_op(
        IMAGE, lambda b, x: b.emit(LayerNorm(3), x, b.constant(normal(4)), b.constant(normal(4)))
    ),
    "rms_norm": one_op(IMAGE, lambda b, x: b.emit(RmsNorm(2), x, b.constant(normal(5, 4)))),
    "gelu": one_op(IMAGE, lambda b, x: b.emit(Unary(UnaryFunction.GELU), x)),
    "sigmoid": one_op(IMAGE, lambda b, x: b.emit(Unary(UnaryFunction.SIGMOID), x)),
    "leaky_relu": one_op(IMAGE, _leaky_relu),
    "mul": one_op(
        IMAGE, lambda b, x: b.emit(Binary(BinaryFunction.MUL), b.constant(normal(5, 1)), x)
    ),
}


@pytest.mark.parametrize("name", OPS)
def test_ops_are_the_interpreters(torch: Any, name: str) -> None:
    from lepton_cc.train.graph_module import GraphModule

    graph = OPS[name]
    module = GraphModule(graph)
    x = normal(3, *graph.inputs[0].type.dims[1:])
    given = torch.from_numpy(x).requires_grad_()
    (y,) = module(given)
    for number in range(3):
        expected = interpret(graph, {"x": x[number : number + 1]})["y"]
        np.testing.assert_allclose(y[number : number + 1].detach(), expected, atol=1e-5)
    torch.square(y).sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in module.parameters())
    assert float(given.grad.abs().sum()) > 0


def test_all_that_is_not_trained_is_named(torch: Any) -> None:
    from lepton_cc.train.graph_module import GraphModule

    builder = GraphBuilder("refused")
    x = builder.input("x", TensorType(DType.F32, (1, 4)))
    mixed = builder.emit(Reshape((2, 2)), x)
    edge = builder.emit(Pad((0, 1), (0, 0), PadMode.EDGE), x)
    best = builder.emit(ArgReduce(ArgFunction.ARGMAX, 1), edge)
    graph = builder.finish((mixed, best), ("mixed", "best"))
    with pytest.raises(Refused) as refused:
        GraphModule(graph)
    assert [one.message for one in refused.value.diagnostics] == [
        "reshape cannot be trained: it mixes the samples of a batch",
        "pad cannot be trained: padding of mode edge has no form that is trained",
        "argmax cannot be trained: it has no form that is trained",
    ]


def digits(project_root: Path) -> tuple[Any, Any]:
    samples = np.load(project_root / "models" / "digits_samples.npz")
    return samples["x"].reshape(-1, 1, 8, 8), samples["y"].astype(np.int64)


@pytest.mark.slow
@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(8, 8), (4, 8), (8, 16)])
def test_rounding_is_the_quantizers(
    torch: Any, project_root: Path, tmp_path: Path, weight_bits: int, activation_bits: int
) -> None:
    from lepton_cc.train.lepton_model import LeptonModel
    from lepton_cc.train.lepton_optimizer import LeptonOptimizer

    model = LeptonModel(project_root / "models" / "digits_dscnn.onnx")
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)
    optimizer = LeptonOptimizer(model.parameters(), sgd)
    optimizer.set_quantization(weight_bits, activation_bits)
    with pytest.raises(Refused, match="run the model on a batch"):
        model.graph()
    images, labels = digits(project_root)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        given = model(torch.from_numpy(images[:40]))
        loss = torch.nn.functional.cross_entropy(given, torch.from_numpy(labels[:40]))
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    model.eval()
    trained = model(torch.from_numpy(images[40:44])).detach().numpy()
    model.export(tmp_path / "digits.onnx")
    plain = onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(tmp_path / "digits.onnx"), plain)
    graph = model.graph()
    (name,) = graph.output_names
    feeds = [{graph.inputs[0].name: images[number : number + 1]} for number in range(40, 44)]
    for feed, expected in zip(feeds, trained, strict=True):
        np.testing.assert_allclose(interpret(graph, feed)[name][0], expected, atol=1e-5)
        np.testing.assert_allclose(session.run(None, feed)[0][0], expected, atol=1e-5)
    if (weight_bits, activation_bits) == (4, 8):
        compiled = lepton_cc.compile(tmp_path / "digits.onnx", target="x86-64", opt=1)
        step = float(np.ptp(trained)) / 128
        for feed, expected in zip(feeds, trained, strict=True):
            np.testing.assert_allclose(compiled.run(feed)[name][0], expected, atol=2 * step)


def test_a_module_is_pruned_in_a_loop(torch: Any, tmp_path: Path) -> None:
    from lepton_cc.train.lepton_model import LeptonModel
    from lepton_cc.train.lepton_optimizer import LeptonOptimizer

    torch.manual_seed(1)
    nn = torch.nn
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5)
    )
    x = torch.randn(32, 3, 4, 4)
    wanted = torch.randint(0, 5, (32,))
    model = LeptonModel(module, (x,))
    torch.testing.assert_close(model(x), module.eval()(x), atol=1e-5, rtol=1e-5)
    adam = torch.optim.Adam(model.parameters(), lr=0.02)
    optimizer = LeptonOptimizer(model.parameters(), adam)
    optimizer.set_compression(ratio=0.75, steps=10)
    shares, losses, zeros = [], [], []
    for _ in range(16):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), wanted)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        shares.append(model.sparsity)
        zeros.append([one == 0 for one in model.computation.prunable_weights()])
    assert losses[-1] < 0.8 * losses[0]
    assert shares == sorted(shares)
    assert shares[9:] == [pytest.approx(0.75, abs=1e-3)] * 7
    assert all(
        torch.equal(before, after) for before, after in zip(zeros[9], zeros[-1], strict=True)
    )
    model.export(tmp_path / "pruned.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "pruned.onnx"))
    compiled = lepton_cc.compile(tmp_path / "pruned.onnx", target="x86-64")
    feed = {"input": x[:1].numpy()}
    expected = model(x[:1]).detach().numpy()
    np.testing.assert_allclose(session.run(None, feed)[0], expected, atol=1e-5)
    np.testing.assert_allclose(compiled.run(feed)["output"], expected, atol=1e-5)


def test_what_makes_no_sense_is_said(torch: Any, project_root: Path) -> None:
    from lepton_cc.train.distillation import Schedule
    from lepton_cc.train.lepton_model import LeptonModel
    from lepton_cc.train.lepton_optimizer import LeptonOptimizer

    model = LeptonModel(project_root / "models" / "digits_cnn.onnx")
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)
    optimizer = LeptonOptimizer(model.parameters(), sgd)
    for wrong, text in (
        (lambda: LeptonModel(torch.nn.ReLU()), "example_inputs"),
        (lambda: LeptonOptimizer(list(model.parameters()), sgd), r"model\.parameters\(\)"),
        (lambda: optimizer.set_quantization(3, 8), "w3a8 is none of"),
        (lambda: optimizer.set_compression(1.5), "between 0 and 1"),
        (lambda: optimizer.set_compression(0.5, -1), "at least 1"),
        (lambda: Schedule(hint_weight=-1.0).check(), "hint_weight=-1.0"),
        (lambda: Schedule(seed=-1).check(), "seed=-1"),
        (lambda: Schedule(learning_rate=math.nan).check(), "learning rate"),
    ):
        with pytest.raises(UsageError, match=text):
            wrong()


def test_images_are_mirrored_and_moved(torch: Any) -> None:
    from lepton_cc.train.augmentation import Augmentation

    image = torch.arange(1.0, 13.0).reshape(1, 1, 3, 4)
    generator = torch.Generator().manual_seed(3)
    (seen,), alone = Augmentation(flip=True, shift=1)([image.expand(200, 1, 3, 4)], generator)
    assert alone.all()
    wide = torch.nn.functional.pad(torch.stack([image[0], image[0].flip(2)]), [1] * 4)
    possible = {
        tuple(one[0, row : row + 3, column : column + 4].reshape(-1).tolist())
        for one in wide
        for row in range(3)
        for column in range(3)
    }
    assert {tuple(one.reshape(-1).tolist()) for one in seen} == possible
    with pytest.raises(UsageError, match="only images"):
        Augmentation(shift=1)([torch.zeros(2, 5)], generator)


def test_images_are_zoomed_and_faded_within_their_range(torch: Any) -> None:
    from lepton_cc.train.augmentation import Augmentation

    generator = torch.Generator().manual_seed(3)
    ramp = torch.arange(16.0).reshape(1, 1, 1, 16).expand(100, 2, 8, 16).contiguous()
    (zoomed,), _ = Augmentation(zoom=0.25)([ramp], generator)
    assert 0.0 <= float(zoomed.min()) <= float(zoomed.max()) <= 15.0
    # Around the middle nothing is mirrored: steps are one pixel times the factor.
    steps = zoomed[:, 0, 4, 7:9].diff(dim=1)[:, 0]
    assert 0.75 <= float(steps.min()) < 0.8
    assert 1.2 < float(steps.max()) <= 1.25
    (faded,), _ = Augmentation(contrast=0.5)([ramp], generator)
    deviations = faded.std((1, 2, 3)) / ramp.std((1, 2, 3))
    means = (faded.mean((1, 2, 3)) - 7.5) / ramp.std((1, 2, 3))
    for share, middle in ((deviations, 1.0), (means, 0.0)):
        assert middle - 0.5 <= float(share.min()) < middle - 0.4
        assert middle + 0.4 < float(share.max()) <= middle + 0.5


def test_samples_are_mixed_with_one_other(torch: Any) -> None:
    from lepton_cc.train.augmentation import Augmentation

    generator = torch.Generator().manual_seed(3)
    # The same sample of each input holds its number, so that what it is mixed with shows.
    numbers = torch.arange(400.0) ** 2
    inputs = [numbers[:, None].expand(400, 3), numbers[:, None, None].expand(400, 2, 2)]
    (rows, squares), alone = Augmentation(mixup=0.5)(inputs, generator)
    assert 150 < int(alone.sum()) < 250
    assert torch.equal(rows[:, 0], squares[:, 1, 1])
    assert torch.equal(rows[alone], inputs[0][alone])
    low, high = torch.minimum(numbers, numbers.roll(1)), torch.maximum(numbers, numbers.roll(1))
    assert bool(((rows[:, 0] >= low) & (rows[:, 0] <= high)).all())
    images = numbers[:, None, None, None].expand(400, 1, 8, 8)
    (cut,), alone = Augmentation(cutmix=1.0)([images], generator)
    assert not alone.any()
    own, other = cut == images, cut == images.roll(1, 0)
    assert bool((own | other).all())
    assert 0.3 < float(own.float().mean()) < 0.8
    for wrong in (
        Augmentation(mixup=0.6, cutmix=0.6),
        Augmentation(mixup=math.nan),
        Augmentation(zoom=1.0),
    ):
        with pytest.raises(UsageError):
            wrong.check()
    with pytest.raises(UsageError, match="only images"):
        Augmentation(cutmix=0.5)([torch.zeros(2, 5)], generator)


def test_hints_are_relative_squared_errors(torch: Any) -> None:
    from lepton_cc.train.distillation_loss import hint_loss

    taught = [torch.from_numpy(normal(4, 3)), torch.from_numpy(normal(2, 5))]
    learned = [torch.from_numpy(normal(*one.shape)).requires_grad_() for one in taught]
    loss = hint_loss(taught, learned)
    loss.backward()
    gradients = [one.grad.clone() for one in learned]
    expected = sum(
        torch.square(s - t).mean() / torch.square(t).mean() / 2
        for s, t in zip(learned, taught, strict=True)
    )
    torch.testing.assert_close(loss, expected)
    for one in learned:
        one.grad = None
    expected.backward()
    for one, gradient in zip(learned, gradients, strict=True):
        torch.testing.assert_close(one.grad, gradient)


@pytest.mark.slow
def test_a_smaller_student_is_distilled(torch: Any, project_root: Path, tmp_path: Path) -> None:
    images, labels = digits(project_root)
    np.savez(tmp_path / "data.npz", image=images, y=labels)
    model = project_root / "models" / "digits_dscnn.onnx"
    data, out = tmp_path / "data.npz", tmp_path / "out"
    arguments = ["--student", "0.5", "--quantize", "w8a8", "--sparsity", "0.5"]
    arguments += ["--labels", "y", "--epochs", "2", "--batch", "20", "--shift", "1"]
    result = tool("distill", model, "--data", data, *arguments, "-o", out)
    assert result.exit_code == 0, result.output
    assert "accuracy on this data" in result.output
    (stage,) = json.loads((out / "report.json").read_text())["stages"]
    assert stage["num_macs"] < 0.7 * stage["num_macs_before"]
    assert stage["zeros"] == pytest.approx(0.5, abs=0.01)
    assert stage["losses"] == sorted(stage["losses"], reverse=True)
    compiled = lepton_cc.compile(out / "digits_dscnn.onnx", target="x86-64", opt=1)
    right = [
        int(np.argmax(next(iter(compiled.run({"image": one[None]}).values())))) == label
        for one, label in zip(images, labels, strict=True)
    ]
    assert abs(np.mean(right) - stage["accuracy"]) <= 0.03


@pytest.mark.slow
def test_split_layers_are_trained(torch: Any, project_root: Path, tmp_path: Path) -> None:
    from lepton_cc.train.distill import DistillOptions, distill
    from lepton_cc.train.distillation import Schedule

    images, labels = digits(project_root)
    model = project_root / "models" / "digits_cnn.onnx"
    options = DistillOptions(low_rank=0.4, schedule=Schedule(2, 20), labels="y")
    done = distill(model, {"image": images, "y": labels}, options)
    report: Any = done.report()
    split, trained = report["stages"]
    before, after = split["num_macs"]
    assert after <= 0.65 * before
    assert (trained["num_macs_before"], trained["num_macs"]) == (before, after)
    assert trained["losses"][1] < trained["losses"][0]
    assert trained["accuracy"] > 0.9


def test_channels_go_where_a_multiply_add_is_missed_least(torch: Any) -> None:
    from lepton_cc.codegen.costs import num_macs
    from lepton_cc.train.narrow_student import narrow_student, total_macs

    builder, relu = GraphBuilder("three_layers"), Clamp(0.0, math.inf)
    x = builder.input("x", TensorType(DType.F32, (1, 8)))
    wide, last = normal(8, 32), normal(16, 4)
    # Half of what the middle layer gives hardly counts, so that it can go for nothing.
    last[8:] *= 1e-3
    first = builder.emit(MatMul(), x, builder.constant(wide))
    second = builder.emit(MatMul(), builder.emit(relu, first), builder.constant(normal(32, 16)))
    y = builder.emit(MatMul(), builder.emit(relu, second), builder.constant(last))
    graph = builder.finish((y,), ("y",))
    samples = {"x": normal(64, 8)}
    assert total_macs(graph) == 8 * 32 + 32 * 16 + 16 * 4
    student = narrow_student(graph, samples, 0.66)
    layers = [op for op in student.graph.ops if num_macs(op)]
    assert [op.result.type.dims[-1] for op in layers] == [32, 8, 4]
    smallest = narrow_student(graph, samples, 0.2)
    assert total_macs(smallest.graph) <= 0.2 * total_macs(graph)
    with pytest.raises(Refused, match="no removal of channels"):
        narrow_student(graph, samples, 0.001)


def test_gradients_are_those_of_the_coordinates(torch: Any) -> None:
    from lepton_cc.train.graph_module import GraphModule
    from lepton_cc.train.whitened_weights import WhitenedWeights

    graph = OPS["grouped"]
    module = GraphModule(graph)
    x = torch.from_numpy(normal(20, *IMAGE[1:]) + 3)
    weights, bias = module.prunable_weights()[0], module.trained["%c-1"]
    with torch.no_grad():
        weights[0, 0] = 0.0
    whitened = WhitenedWeights(module.float_graph(), module, [x])
    assert whitened.others == []
    before = weights.detach().clone(), bias.detach().clone()
    torch.square(module(x)[0]).sum().backward()
    whitened.pull()
    whitened.push()
    torch.testing.assert_close((weights, bias), before)
    coordinates = whitened.coordinates()
    moves = [torch.from_numpy(normal(*one.shape)) for one in coordinates]
    with torch.no_grad():
        for one, move in zip(coordinates, moves, strict=True):
            one.add_(move)
    whitened.push()
    along = sum(
        float((one.grad * move).sum()) for one, move in zip(coordinates, moves, strict=True)
    )
    pairs = zip((weights, bias), before, strict=True)
    moved = sum(float((now.grad * (now.detach() - then)).sum()) for now, then in pairs)
    assert moved == pytest.approx(along, rel=1e-3)
    assert not weights[0, 0].any()


def test_the_same_seed_gives_the_same_student(torch: Any, project_root: Path) -> None:
    from lepton_cc.train.augmentation import Augmentation
    from lepton_cc.train.distillation import Lesson, Schedule, train
    from lepton_cc.train.torch_import import trainable_graph

    images, _ = digits(project_root)
    lesson = Lesson((torch.from_numpy(images[:32]),), None, Augmentation(shift=1))
    graph = trainable_graph(project_root / "models" / "digits_cnn.onnx")
    made = [
        train(graph, graph, lesson, Schedule(1, 16, seed=seed), WeightScheme.W4A8)[0]
        for seed in (5, 5, 6)
    ]
    assert made[0] == made[1]
    assert made[0] != made[2]


def test_distilling_nothing_is_refused(torch: Any, project_root: Path, tmp_path: Path) -> None:
    images, _ = digits(project_root)
    np.savez(tmp_path / "data.npz", image=images, wrong=np.arange(len(images)))
    model, data = project_root / "models" / "digits_cnn.onnx", tmp_path / "data.npz"
    for options, code, text in (
        ((), 2, "nothing would be smaller"),
        (("--low-rank", "1.5"), 2, "not between 0 and 1"),
        (("--low-rank", "0.5", "--student", model), 2, "is not split"),
        (("--sparsity", "0.5", "--labels", "y"), 1, "labels 'y' are not in the data"),
        (("--sparsity", "0.5", "--labels", "wrong"), 1, "the output has 10 classes"),
        (("--student", project_root / "models" / "digits_gru.onnx"), 1, "cannot be trained"),
    ):
        result = tool("distill", model, "--data", data, *options, "-o", tmp_path / "out")
        assert (result.exit_code, text in result.output) == (code, True), result.output
    assert not (tmp_path / "out").exists()


def test_a_student_is_not_overwritten(torch: Any, project_root: Path, tmp_path: Path) -> None:
    images, _ = digits(project_root)
    np.savez(tmp_path / "data.npz", image=images)
    model = project_root / "models" / "digits_cnn.onnx"
    student = tmp_path / "small.onnx"
    student.write_bytes(model.read_bytes())
    arguments = ("--student", student, "-o", tmp_path, "--name", "small")
    result = tool("distill", model, "--data", tmp_path / "data.npz", *arguments)
    assert result.exit_code == 1, result.output
    assert "small.onnx, which is read and would be overwritten" in result.output


def test_without_pytorch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torch" else find_spec(name)
    )
    path = find_spec("lepton_cc")
    assert path is not None
    assert path.origin is not None
    source = Path(path.origin).parent / "train" / "__init__.py"
    spec = importlib.util.spec_from_file_location("train_without_torch", source)
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ToolchainError, match=r"lepton-cc\[train\]"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
