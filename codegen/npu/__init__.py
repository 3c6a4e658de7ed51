"""Code generation for the tensor engine of lepton-npu (docs/lepton-npu.md)."""
