"""The encodings of lepton-npu: one table each for packets, registers, faults, regions, family.

Assembler, disassembler, the C header and the tables of docs/lepton-npu.md are made from these.
"""
