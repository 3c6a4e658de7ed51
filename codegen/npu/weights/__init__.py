"""Weight slices (docs/lepton-npu.md, section 7): their order, encodings, and the choice of one."""
