"""A C program lends its own POSIX threads to the emitted library: the same bytes as without."""

import shutil
import subprocess
from pathlib import Path

import pytest

import lepton_cc
from lepton_cc import runtime_c
from tests import real_models
from tests.real_models import RealModel

WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")

# Ranges are cut unevenly, by a counter that differs from loop to loop, and run on new threads.
_MAIN = """\
#define _POSIX_C_SOURCE 200809L
#include "model.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 8

typedef struct {
    lepton_task task;
    void *context;
    int32_t begin;
    int32_t end;
} piece;

typedef struct {
    int32_t num_threads;
    uint32_t loops;
} pool;

static void *run_piece(void *argument)
{
    const piece *const mine = argument;
    mine->task(mine->context, mine->begin, mine->end);
    return NULL;
}

static void run_loop(void *self, int32_t count, lepton_task task, void *context)
{
    pool *const threads = self;
    pthread_t ids[MAX_THREADS];
    piece pieces[MAX_THREADS];
    int32_t begin = 0;
    int32_t used = 0;
    ++threads->loops;
    for (; used < threads->num_threads && begin < count; ++used) {
        const int32_t rest = count - begin;
        const int32_t even = rest / (threads->num_threads - used);
        const int32_t more = (int32_t)(threads->loops % 3u);
        int32_t length = used + 1 == threads->num_threads ? rest : even + more;
        length = length < 1 ? 1 : length > rest ? rest : length;
        pieces[used].task = task;
        pieces[used].context = context;
        pieces[used].begin = begin;
        pieces[used].end = begin + length;
        if (pthread_create(&ids[used], NULL, run_piece, &pieces[used]) != 0) {
            exit(3);
        }
        begin += length;
    }
    for (int32_t i = 0; i < used; ++i) {
        pthread_join(ids[i], NULL);
    }
}

static void *filled(size_t size, int value)
{
    void *const memory = aligned_alloc(64, (size + 63u) / 64u * 64u);
    if (memory == NULL) {
        exit(4);
    }
    memset(memory, value, size);
    return memory;
}

int main(void)
{
    float *const x = filled(INPUT_BYTES, 0);
    for (size_t i = 0; i < INPUT_BYTES / sizeof(float); ++i) {
        x[i] = (float)((i * 7919u) % 255u) / 255.0f;
    }
    void *const arena = filled(model_ARENA_BYTES, 0x5a);
    const model_inputs in = {x};
    const model_outputs serial = {SERIAL_OUTPUTS};
    if (model_run(&in, &serial, arena) != LEPTON_OK) {
        return 5;
    }
    for (int32_t n = 1; n <= MAX_THREADS; n += n < 3 ? 1 : 5) {
        pool threads = {n, 0};
        const lepton_parallel parallel = {run_loop, &threads};
        const model_outputs out = {PARALLEL_OUTPUTS};
        memset(arena, 0xa5, model_ARENA_BYTES);
        if (model_run_parallel(&in, &out, arena, &parallel) != LEPTON_OK || threads.loops == 0) {
            return 6;
        }
        if (COMPARISONS) {
            fprintf(stderr, "%d threads give other bytes\\n", (int)n);
            return 7;
        }
    }
    return model_run_parallel(&in, &serial, arena, NULL) == LEPTON_OK ? 0 : 8;
}
"""


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(real_models.TINY[2], id="vww"),
        pytest.param(real_models.OTHER[6], id="yunet", marks=pytest.mark.slow),
    ],
)
def test_posix_threads(model: RealModel, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    compiled = lepton_cc.compile(model.require(), target="x86-64", name="model")
    compiled.save(tmp_path / "out")
    (only,) = compiled.inputs
    source = _MAIN
    for word, text in {
        "INPUT_BYTES": f"{only.type.size_bytes}u",
        "SERIAL_OUTPUTS": ", ".join(
            f"filled({port.type.size_bytes}u, 1)" for port in compiled.outputs
        ),
        "PARALLEL_OUTPUTS": ", ".join(
            f"filled({port.type.size_bytes}u, 2)" for port in compiled.outputs
        ),
        "COMPARISONS": " || ".join(
            f"memcmp(serial.{port.identifier}, out.{port.identifier}, {port.type.size_bytes}u) != 0"
            for port in compiled.outputs
        ),
    }.items():
        source = source.replace(word, text)
    (tmp_path / "main.c").write_text(source, encoding="utf-8")
    include = Path(runtime_c.__file__).parent.resolve() / "include"
    command = [compiler, "-std=c11", *WARNINGS, "-O1", f"-I{include}", "-Iout", "main.c"]
    done = subprocess.run(
        [*command, "out/model.a", "-lpthread", "-o", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        ["./run"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
