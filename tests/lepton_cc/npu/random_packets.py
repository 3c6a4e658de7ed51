"""Random packets with legal fields, small enough to run, for the tests of the engine."""

import random

from lepton_cc.codegen.npu.isa.assemble import FieldValue, Packet
from lepton_cc.codegen.npu.isa.packets import Elementwise, Encoding, Epilogue, Opcode, Pool
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.machine import Machine

_FLAGS = (
    Epilogue(0),
    Epilogue.TABLE,
    Epilogue.POOL2X2,
    Epilogue.RESIDUAL,
    Epilogue.RESIDUAL | Epilogue.RESIDUAL_FIRST,
    Epilogue.RESIDUAL | Epilogue.TABLE,
    Epilogue.POOL2X2 | Epilogue.TABLE,
)
_COMPUTE = (
    Opcode.CONV, Opcode.DEPTHWISE, Opcode.SEPARABLE, Opcode.POOL,
    Opcode.MATMUL, Opcode.ELEMENTWISE, Opcode.TABLE,
)  # fmt: skip


def _size(rng: random.Random, limit: int) -> int:
    """1 to limit, small ones more often."""
    return rng.randint(1, rng.choice((1, 4, 17, limit)) if limit > 17 else limit)


def _window(rng: random.Random) -> dict[str, FieldValue]:
    return {
        "kernel_height": rng.choice((1, 1, 2, 3, 5, 7)),
        "kernel_width": rng.choice((1, 1, 2, 3, 5, 7)),
        "stride_y": rng.randint(1, 3),
        "stride_x": rng.randint(1, 3),
    }


def random_shapes(rng: random.Random, machine: Machine, opcode: Opcode, limit: int) -> Packet:
    """A packet whose shapes, modes and flags are legal; its addresses and strides are not."""
    member = machine.member
    places = (Region.SPM, Region.WBUF)
    fields: dict[str, FieldValue] = {}
    match opcode:
        case Opcode.CONV | Opcode.DEPTHWISE | Opcode.SEPARABLE:
            groups = rng.choice((1, 1, 2, 3)) if opcode is Opcode.CONV else 1
            channels = groups * _size(rng, limit)
            outputs = channels if opcode is Opcode.DEPTHWISE else groups * _size(rng, limit)
            modes = member.depthwise_modes if opcode is Opcode.DEPTHWISE else member.modes
            fields = {
                **_window(rng),
                "ifm_height": _size(rng, limit),
                "ifm_width": _size(rng, limit),
                "ifm_channels": channels,
                "ofm_height": _size(rng, limit),
                "ofm_width": _size(rng, limit),
                "ofm_channels": outputs,
                "groups": groups,
                "dilation_y": rng.choice((1, 1, 2)),
                "dilation_x": rng.choice((1, 1, 3)),
                "upsample_y": rng.choice((1, 1, 2)),
                "upsample_x": rng.choice((1, 1, 4)),
                "mode": rng.randrange(len(modes)),
                "encoding": rng.choice(tuple(Encoding)),
                "epilogue": rng.choice(_FLAGS),
                "weights_address": Address(rng.choice(places), 0),
                "weights_bytes": rng.randrange(100_000),
            }
            if opcode is Opcode.SEPARABLE:
                fields |= {
                    "stage_mode": rng.randrange(len(member.depthwise_modes)),
                    "stage_encoding": rng.choice(tuple(Encoding)),
                    "stage_weights_address": Address(rng.choice(places), 0),
                    "stage_weights_bytes": rng.randrange(100_000),
                }
        case Opcode.POOL:
            channels = _size(rng, limit)
            fields = {
                **_window(rng),
                "ifm_height": _size(rng, limit),
                "ifm_width": _size(rng, limit),
                "ifm_channels": channels,
                "ofm_height": _size(rng, limit),
                "ofm_width": _size(rng, limit),
                "ofm_channels": channels,
                "mode": rng.randrange(len(member.depthwise_modes)),
                "kind": rng.choice(tuple(Pool)),
                "epilogue": rng.choice((0, Epilogue.TABLE)),
            }
        case Opcode.MATMUL:
            fields = {
                "batch": rng.randint(1, 4),
                "rows": _size(rng, limit),
                "columns": _size(rng, limit),
                "depth": _size(rng, limit),
                "mode": rng.randrange(len(member.modes)),
                "epilogue": rng.choice((0, Epilogue.TABLE)),
            }
        case Opcode.ELEMENTWISE | Opcode.TABLE:
            fields = {
                "height": _size(rng, limit),
                "width": _size(rng, limit),
                "channels": _size(rng, limit),
            }
            if opcode is Opcode.ELEMENTWISE:
                fields |= {
                    "kind": rng.choice(tuple(Elementwise)),
                    "epilogue": rng.choice((0, Epilogue.TABLE)),
                    "rhs_repeats_channel": rng.randint(0, 1),
                    "rhs_row_stride": rng.randint(0, 1),
                    "rhs_pixel_stride": rng.randint(0, 1),
                }
        case Opcode.DMA:
            regions = tuple(Region)
            fields = {
                "source": Address(rng.choice(regions), 0),
                "target": Address(rng.choice(regions), 0),
                "run_bytes": _size(rng, limit),
                "count1": _size(rng, limit),
                "count2": _size(rng, limit),
                "count3": _size(rng, limit),
                "fill": rng.randint(0, 1),
            }
        case _:
            pass
    return Packet(opcode, fields)


def random_opcode(rng: random.Random) -> Opcode:
    """Compute packets mostly."""
    return rng.choice((*_COMPUTE, *_COMPUTE, Opcode.DMA, Opcode.NOP, Opcode.TRACE, Opcode.FENCE))
