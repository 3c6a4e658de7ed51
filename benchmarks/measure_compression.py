"""Accuracy of `lepton compress` at 4 bits: to nearest, by column solve, by learned rounding.

    python -m benchmarks.measure_compression [--model NAME] [--method NAME,...] [--scheme NAME]
        [--mixed BUDGET] [--memory] [--language-model]

Reads ../shared as `measure_quantization` does and prints the table of docs/quantization.md; every
figure is of the ONNX file that `compress` makes, compiled by lepton-cc. Seconds are of one core's
time. `--model` is a name or a part of one; `--scheme` names one or more, with commas. `--mixed`
adds a row for each method with layers that keep 8 bits. `--memory` prints instead what calibrating
on all of ic_train_subset adds to the process, in MiB; `--language-model` what blocks do to
stories260k.
"""

import argparse
import itertools
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime

import lepton_cc
from benchmarks.measure_quantization import SHARED, TASKS, Array, Task, _decibels, _outputs
from lepton_cc.calibration.mixed_widths import WidthBudget
from lepton_cc.calibration.quantize import QuantizationOptions
from lepton_cc.compression.compress import compress
from lepton_cc.compression.quantize_stage import QuantizeStage
from lepton_cc.passes.quantize.layer_rounding import Rounding
from lepton_cc.passes.quantize.weight_rounding import WeightScheme


def measure(
    task: Task, schemes: list[WeightScheme], methods: list[Rounding], mixed: WidthBudget | None
) -> None:
    """Prints a row for the float model and one for each method, alone and with mixed widths."""
    model = lepton_cc.compile(task.path, target="host")
    (port,) = model.inputs
    known, seen, labels = task.samples()
    known, seen = (x.reshape(-1, *port.type.dims) for x in (known, seen))
    flat = seen.reshape(len(seen), -1)
    floats = _outputs(model.run, port.name, seen)
    print(f"| {task.name} | float | {task.score(flat, floats, labels):.2f} | - | - |", flush=True)
    for scheme, method, budget in itertools.product(schemes, methods, dict.fromkeys((None, mixed))):
        start = time.process_time()
        stage = QuantizeStage(QuantizationOptions(scheme, rounding=method, mixed=budget))
        done = compress(task.path, {port.name: known}, (stage,))
        seconds = time.process_time() - start
        assert done.model is not None
        compiled = lepton_cc.compile(
            onnx.load_from_string(done.model), target="host", require_integer=True
        )
        outputs = _outputs(compiled.run, port.name, seen)
        score = task.score(flat, outputs, labels)
        form = f"{scheme.value} {method.value}{'' if budget is None else ' mixed'}"
        print(
            f"| {task.name} | {form} | {score:.2f} |"
            f" {_decibels(floats, outputs):.1f} | {seconds:.0f} |",
            flush=True,
        )


def _forget_peak() -> float:
    """Makes the present memory the peak; MiB of it."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> float:
    """The peak of this process's memory, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure_memory(method: Rounding) -> None:
    """Prints the memory of the process before, and its peak while it compresses a model.

    The model was compressed with one sample before, so that code and libraries are loaded.
    """
    (task,) = (one for one in TASKS if one.name == "ic_resnet8_fp32")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        pixels = np.load(SHARED / "data" / "ic_train_subset.npz")["x"]
        np.savez(path, input=pixels.astype(np.float32))
        del pixels
        stage = QuantizeStage(QuantizationOptions(WeightScheme.W4A8, rounding=method))
        compress(task.path, {"input": _one_sample(path)}, (stage,))
        before = _forget_peak()
        start = time.process_time()
        compress(task.path, path, (stage,))
        seconds, peak = time.process_time() - start, _peak()
    print(f"{method.value}: {before:.0f} MiB before, {peak:.0f} at most, {seconds:.0f} s")


def _one_sample(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    with np.load(path) as arrays:
        return np.array(arrays["input"][:1])


def measure_language_model(blocks: tuple[int, ...] = (32, 64, 128)) -> None:
    """Prints cross entropy, divergence and agreement of the small model, in ONNX Runtime."""
    path = SHARED / "models" / "other" / "stories260k_prefill64.onnx"
    tokens = np.load(SHARED / "data" / "stories260k_tokens.npz")
    seen = tokens["eval_ids"]
    floats = _log_probabilities(path.read_bytes(), seen)
    print("| form | cross entropy | KL | same top-1, % | s to make |")
    print("|---|---|---|---|---|")
    print(f"| float | {_cross_entropy(floats, seen):.4f} | 0 | 100 | - |")
    ways = [(WeightScheme.W8A8, 0), (WeightScheme.W4A8, 0)]
    ways += [(WeightScheme.W4A16, block) for block in blocks]
    for (scheme, block), method in itertools.product(ways, (Rounding.PLAIN, Rounding.GPTQ)):
        start = time.perf_counter()
        stage = QuantizeStage(QuantizationOptions(scheme, rounding=method, block=block))
        done = compress(path, {"input_ids": tokens["calib_ids"]}, (stage,))
        seconds = time.perf_counter() - start
        assert done.model is not None
        got = _log_probabilities(done.model, seen)
        divergence = float(np.mean(np.sum(np.exp(floats) * (floats - got), axis=-1)))
        same = 100 * float(np.mean(got.argmax(axis=-1) == floats.argmax(axis=-1)))
        print(
            f"| {scheme.value} {block or ''} {method.value} | {_cross_entropy(got, seen):.4f} |"
            f" {divergence:.4f} | {same:.1f} | {seconds:.0f} |",
            flush=True,
        )


def _log_probabilities(model: bytes, tokens: Array) -> Array:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    rows = [session.run(None, {"input_ids": row[None]})[0][0] for row in tokens]
    logits = np.stack(rows).astype(np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True)))


def _cross_entropy(found: Array, tokens: Array) -> float:
    return -float(np.mean(np.take_along_axis(found[:, :-1], tokens[:, 1:, None], axis=-1)))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--model", default="", help="its name, or part of one")
    parser.add_argument("--method", default="plain,gptq,adaround")
    parser.add_argument("--scheme", default="w4a8")
    parser.add_argument("--mixed", default="", help="such as 60%% or 30dB")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--language-model", action="store_true")
    arguments = parser.parse_args()
    methods = [Rounding(name) for name in arguments.method.split(",")]
    if arguments.memory:
        measure_memory(methods[-1])
        return
    if arguments.language_model:
        measure_language_model()
        return
    mixed = WidthBudget.parse(arguments.mixed) if arguments.mixed else None
    print("| model | form | accuracy or AUC, % | SQNR, dB | CPU s to make |")
    print("|---|---|---|---|---|")
    schemes = [WeightScheme(name) for name in arguments.scheme.split(",")]
    chosen = [task for task in TASKS if task.name == arguments.model]
    for task in chosen or TASKS:
        if arguments.model in task.name:
            measure(task, schemes, methods, mixed)


if __name__ == "__main__":
    main()
