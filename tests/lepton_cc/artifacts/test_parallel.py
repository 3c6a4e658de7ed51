"""`NAME_run_parallel` from C: on real threads and odd ranges, the same bytes as `NAME_run`."""

import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lepton_cc
from tests.lepton_cc.artifacts.native_program import INCLUDE, WARNINGS, compiler, outputs_of

MAIN = """\
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include "wide.h"
enum { THREADS = 3 };
typedef struct { lepton_task task; void *context; int32_t begin, end; } piece;
static LEPTON_ALIGNED(64) uint8_t arena[wide_ARENA_BYTES + 64];
static float x[SIZE], serial[SIZE], parallel[SIZE];
static int num_calls = 0;
static void *work(void *argument)
{
    const piece *p = argument;
    p->task(p->context, p->begin, p->end);
    return NULL;
}
static void run(void *self, int32_t count, lepton_task task, void *context)
{
    pthread_t threads[THREADS];
    piece pieces[THREADS];
    ++*(int *)self;
    for (int32_t i = 0; i < THREADS; ++i) {
        const piece p = {task, context, i == 0 ? 0 : 1 + (count - 1) * (i - 1) / (THREADS - 1),
                         1 + (count - 1) * i / (THREADS - 1)};
        pieces[i] = p;
        if (pthread_create(&threads[i], NULL, work, &pieces[i]) != 0) return;
    }
    for (int i = 0; i < THREADS; ++i) (void)pthread_join(threads[i], NULL);
}
int main(void)
{
    const wide_inputs in = {x};
    const wide_outputs out_serial = {serial}, out_parallel = {parallel};
    const lepton_parallel threads = {run, &num_calls};
    if (fread(x, sizeof x, 1, stdin) != 1) return 1;
    if (wide_run(&in, &out_serial, arena) != LEPTON_OK || num_calls != 0) return 2;
    if (wide_run_parallel(&in, &out_parallel, arena, &threads) != LEPTON_OK) return 3;
    if (num_calls == 0) return 4;
    if (wide_run_parallel(&in, &out_parallel, arena, NULL) != LEPTON_OK) return 5;
    if (fwrite(serial, sizeof serial, 1, stdout) != 1) return 6;
    return fwrite(parallel, sizeof parallel, 1, stdout) == 1 ? 0 : 7;
}
"""


def wide_model(size: int) -> onnx.ModelProto:
    """Two convolutions that are large enough to be split, `[1, 32, size, size]`."""
    generator = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(
            generator.standard_normal((32, 32, 3, 3)).astype(np.float32) / 17, f"w{number}"
        )
        for number in range(2)
    ]
    shape = [1, 32, size, size]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w0"], ["h"], pads=[1, 1, 1, 1]),
            helper.make_node("Conv", ["h", "w1"], ["y"], pads=[1, 1, 1, 1]),
        ],
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


@pytest.mark.parametrize("size", [32, 37])
def test_threads_give_the_same_bytes(tmp_path: Path, size: int) -> None:
    model = lepton_cc.compile(wide_model(size), name="wide")
    model.save(tmp_path)
    header = (tmp_path / "wide.h").read_text(encoding="utf-8")
    assert "lepton_status wide_run_parallel(" in header
    assert model.memory.task_stack_bytes > 0
    main, program = tmp_path / "main.c", tmp_path / "program"
    main.write_text(MAIN.replace("SIZE", str(32 * size * size)), encoding="utf-8")
    command = [compiler("gcc"), "-std=c99", "-O1", *WARNINGS, "-pthread", f"-I{INCLUDE}"]
    subprocess.run([*command, main, tmp_path / "wide.a", "-o", program], check=True)
    x = np.random.default_rng(1).standard_normal((1, 32, size, size)).astype(np.float32)
    serial, parallel = np.split(np.frombuffer(outputs_of(program, x.tobytes()), np.float32), 2)
    assert serial.tobytes() == parallel.tobytes()
    assert serial.tobytes() == model.run({"x": x})["y"].tobytes()
