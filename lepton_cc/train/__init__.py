"""Training: quantization-aware, pruning and distillation, from ONNX or PyTorch in to ONNX out.

The only room that imports PyTorch; importing it is what needs the extra.
"""

from importlib.util import find_spec

from lepton_cc.ir.diagnostics import ToolchainError

if find_spec("torch") is None:
    raise ToolchainError(
        "training needs PyTorch, which is not installed",
        hint="install the extra: pip install 'lepton-cc[train]'",
    )
