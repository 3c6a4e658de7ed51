"""Measuring: turns, pools that spin, shares of layers, hooks that exist only where asked for."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

import lepton_cc
from lepton_cc.codegen.llvm.module import emit_module
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.executable import Executable
from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.ir.dtype import DType
from lepton_cc.measure.layer_times import LayerTime, counted_layers, timed_layers
from lepton_cc.measure.peak import Peaks, matrix_peak_gmacs, peak_gmacs
from lepton_cc.measure.spin_pool import SpinPool
from lepton_cc.measure.turns import least_in_turns
from lepton_cc.report import LayerReport


def layer(number: int, kernel: str, num_macs: int = 100) -> LayerReport:
    return LayerReport(number, "conv", (f"conv_{number}",), "y", "i8", (1,), num_macs, 0, 0, kernel)


def test_the_least_of_all_turns_counts() -> None:
    slow = iter([9.0, 9.0, *([5.0, 3.0, 4.0, 6.0, 7.0] * 50)])
    fast = iter([9.0, 9.0, *([2.0, 8.0, 1.0, 2.0, 2.0] * 50)])
    calls: list[str] = []

    def first(_: int) -> float:
        calls.append("first")
        return next(slow)

    def second(_: int) -> float:
        calls.append("second")
        return next(fast)

    assert least_in_turns((first, second), 5) == (3.0, 1.0)
    assert calls[4:] == ["first", "second"] * 5


def test_layers_share_the_time_of_their_clock() -> None:
    """A clock of 1 tick a nanosecond, made of the machine's own."""
    ticks = np.zeros(3, np.uint64)

    def call() -> None:
        ticks[0] = time.perf_counter_ns()
        time.sleep(0.001)
        ticks[1] = time.perf_counter_ns()
        time.sleep(0.003)
        ticks[2] = time.perf_counter_ns()

    first, second = timed_layers(call, ticks, (layer(0, "k0"), layer(1, "k1")), 5)
    assert first.seconds is not None
    assert second.seconds is not None
    assert 0.001 <= first.seconds < 0.003 <= second.seconds
    assert first.share + second.share == pytest.approx(1)
    assert second.gmacs == pytest.approx(100 / second.seconds / 1e9)


def test_layers_of_one_kernel_share_its_instructions() -> None:
    counts = {"m_k0": 600, "m_k1": 300, "__mulsf3": 100}
    layers = (layer(0, "k0"), layer(1, "k1"), layer(2, "k0"))
    rows = counted_layers(counts, layers, "m")
    assert [row.instructions for row in rows] == [300, 300, 300, 100]
    assert [row.name for row in rows] == ["conv", "conv", "conv", "__mulsf3"]
    assert rows[0].instructions_per_mac == 3
    assert rows[3].instructions_per_mac is None
    assert sum(row.share for row in rows) == pytest.approx(1)


@pytest.mark.parametrize("in_process", [True, False])
def test_hooks_are_only_in_profiled_modules(project_root: Path, in_process: bool) -> None:
    options = CompileOptions(load_target("x86-64"))
    program = compile_model(project_root / "models" / "digits_cnn.onnx", options).program
    plain = emit_module(program, in_process=in_process)
    assert "readcyclecounter" not in plain
    assert "ticks" not in plain
    profiled = emit_module(program, in_process=in_process, profile=True)
    assert profiled.count("call i64 @llvm.readcyclecounter()") == len(program.calls) + 1


def test_a_core_without_a_clock_keeps_its_layers_apart(project_root: Path) -> None:
    options = CompileOptions(load_target("rv32imc"))
    program = compile_model(project_root / "models" / "digits_cnn.onnx", options).program
    assert "noinline" not in emit_module(program)
    profiled = emit_module(program, profile=True)
    assert "readcyclecounter" not in profiled
    assert profiled.count(" noinline") == len(program.calls)


def test_the_profile_of_a_compiled_model(project_root: Path) -> None:
    model = lepton_cc.compile(project_root / "models" / "digits_gru.onnx", target="host")
    rows = model.profile(10)
    assert [row.layer for row in rows] == list(model.layers)
    seconds = sum(row.seconds or 0 for row in rows)
    # The same code with hooks between its kernels, on a machine that others use, too.
    assert 0.2 < seconds / model.bench(100) < 5
    emulated = lepton_cc.compile(project_root / "models" / "digits_gru.onnx", target="rv32imc")
    with pytest.raises(lepton_cc.Refused, match="its time means nothing"):
        emulated.profile()


def test_spinning_threads_give_the_same_bytes(project_root: Path) -> None:
    options = CompileOptions(load_target("host"))
    path = project_root / "models" / "digits_dscnn.onnx"
    executable = Executable(compile_model(path, options).program, 3)
    image = {"image": np.load(project_root / "models" / "digits_samples.npz")["x"][:1]}
    call = executable.prepare(image)
    call.run()
    expected = {name: array.copy() for name, array in call.outputs.items()}
    for num_threads in (1, 2, 3):
        with SpinPool(num_threads, load_target("host")) as pool:
            for _ in range(20):
                call.run(pool)
                for name, array in call.outputs.items():
                    assert np.array_equal(array, expected[name])


def test_no_threads_run_nothing() -> None:
    with pytest.raises(UsageError):
        SpinPool(0, load_target("host"))


def test_peaks_are_of_the_targets_instructions() -> None:
    host = load_target("host")
    for dtype in (DType.F32, DType.I8):
        peak = peak_gmacs(host, dtype)
        assert peak is None or 1 < peak < 5000
    assert peak_gmacs(load_target("x86-64"), DType.I8) is None
    matrix = matrix_peak_gmacs(host)
    assert matrix is None if not host.matrix_registers else matrix and matrix > 1
    assert matrix_peak_gmacs(load_target("x86-64")) is None


def test_a_layer_is_measured_against_its_unit() -> None:
    peaks = Peaks(f32=10.0, i8=40.0, matrix=400.0)
    on_vectors = layer(0, "k0", 1_000_000)
    on_matrices = dataclasses.replace(on_vectors, uses_matrices=True)
    in_float = dataclasses.replace(on_vectors, dtype="f32")
    shares = [
        peaks.share(LayerTime(each, "conv", 1.0, seconds=1e-3))
        for each in (on_vectors, on_matrices, in_float)
    ]
    assert shares == pytest.approx([1 / 40, 1 / 400, 1 / 10])
