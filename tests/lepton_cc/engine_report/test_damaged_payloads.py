"""A payload with right checksums and wrong fields gives figures or a refusal, nothing else."""

import dataclasses
import random

from lepton_cc.codegen.npu.payload import encode_payload
from lepton_cc.codegen.npu.payload_reader import PayloadError, decode_payload
from lepton_cc.engine_report.payload_report import disassembly, payload_report
from tests.lepton_cc.engine_report.compiled import compiled

NUM_MUTANTS = 150


def test_mutated_streams() -> None:
    engine = compiled("digits_cnn").program.engine
    assert engine is not None
    payload = decode_payload(engine.payload)
    refused = 0
    for seed in range(NUM_MUTANTS):
        choose = random.Random(seed)
        stream = bytearray(payload.stream)
        for _ in range(choose.choice((1, 1, 4))):
            stream[choose.randrange(len(stream))] = choose.choice((0, 1, 0x7F, 0xFF))
        content = encode_payload(dataclasses.replace(payload, stream=bytes(stream)))
        try:
            report = payload_report("mutant", content, engine.machine)
            list(disassembly(content))
        except PayloadError:
            refused += 1
            continue
        for segment in report.segments:
            cycles = sum(layer.cycles for layer in segment.layers) + segment.tail_cycles
            assert cycles <= segment.cycles
    assert 0 < refused < NUM_MUTANTS
