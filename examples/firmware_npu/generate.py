"""Compiles digits.onnx, and writes what the firmware is built from: C, header, payload, samples.

`python generate.py FOLDER [TARGET]`; Makefile and CMakeLists.txt call it.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

import lepton_cc

_FOLDER = Path(__file__).resolve().parent
_SAMPLES = _FOLDER.parent.parent / "models" / "digits_samples.npz"
NAME = "digits"
NUM_SAMPLES = 20
# The input of digits.onnx: scale and zero point, and the levels of ink in the data.
_SCALE, _ZERO_POINT, _LEVELS = np.float32(1 / 255), -128, 16

_PAYLOAD = """\
/* {name}_payload.c: {name}.lpt, the engine's part of the model. */
#include "lepton/lepton.h"

extern const uint8_t {name}_payload[{size}];
extern const uint32_t {name}_payload_bytes;

LEPTON_ALIGNED(16) const uint8_t {name}_payload[{size}] = {{
{rows}
}};
const uint32_t {name}_payload_bytes = {size}u;
"""

_SAMPLES_HEADER = """\
/* samples.h: {count} handwritten digits of 8x8 pixels, 0 to {levels}; see models/README.md. */
#ifndef SAMPLES_H
#define SAMPLES_H

#include <stdint.h>

#define NUM_SAMPLES {count}u

static const uint8_t sample_pixels[NUM_SAMPLES][64] = {{
{rows}
}};

static const uint8_t sample_digits[NUM_SAMPLES] = {{{digits}}};

/* A pixel as the model's input. */
static const int8_t sample_levels[{num_levels}] = {{{quantized}}};

#endif
"""


def _rows(numbers: Iterable[int], width: int = 20) -> str:
    words = [str(number) for number in numbers]
    lines = (words[i : i + width] for i in range(0, len(words), width))
    return "\n".join(f"    {', '.join(line)}," for line in lines)


def payload_source(name: str, payload: bytes) -> str:
    """The payload as a C array."""
    return _PAYLOAD.format(name=name, size=len(payload), rows=_rows(payload))


def samples_header() -> str:
    """The first bundled images, and the table that quantizes their pixels."""
    bundled = np.load(_SAMPLES)
    pixels = np.rint(bundled["x"][:NUM_SAMPLES] * _LEVELS).astype(int).reshape(NUM_SAMPLES, -1)
    ink = (np.arange(_LEVELS + 1) / _LEVELS).astype(np.float32)
    quantized = np.clip(np.rint(ink / _SCALE) + _ZERO_POINT, -128, 127).astype(int)
    return _SAMPLES_HEADER.format(
        count=NUM_SAMPLES,
        levels=_LEVELS,
        num_levels=_LEVELS + 1,
        rows="\n".join(f"    {{{', '.join(map(str, image))}}}," for image in pixels),
        digits=", ".join(str(digit) for digit in bundled["y"][:NUM_SAMPLES]),
        quantized=", ".join(map(str, quantized)),
    )


def generate(folder: Path, target: str = "lepton-npu") -> None:
    """Writes digits.c, digits.h, digits.lpt, digits_payload.c and samples.h into `folder`."""
    model = lepton_cc.compile(_FOLDER / "digits.onnx", target=target, name=NAME)
    model.save(folder, emit=["c"])
    payload = (folder / f"{NAME}.lpt").read_bytes()
    (folder / f"{NAME}_payload.c").write_text(payload_source(NAME, payload), encoding="utf-8")
    (folder / "samples.h").write_text(samples_header(), encoding="utf-8")


if __name__ == "__main__":
    generate(Path(sys.argv[1]), *sys.argv[2:3])
