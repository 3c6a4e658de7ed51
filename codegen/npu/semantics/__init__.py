"""The device as docs/lepton-npu.md defines it, executable: NumPy, clear before fast.

The second of two independent implementations; the other one is the emulator in `runtime_c`.
"""
