"""lepton-cc: compiles a trained ONNX model into the code that runs it on an edge chip.

import lepton_cc
model = lepton_cc.compile("model.onnx", target="x86-64", opt=3)
outputs = model.run({"image": image})
"""

from typing import TYPE_CHECKING

from lepton_cc.version import __version__ as __version__

if TYPE_CHECKING:
    from lepton_cc.attribution.blame import blame as blame
    from lepton_cc.compiled_model import CompiledModel as CompiledModel
    from lepton_cc.compiled_model import compile as compile
    from lepton_cc.evaluation.evaluate import evaluate as evaluate
    from lepton_cc.ir.diagnostics import LeptonError as LeptonError
    from lepton_cc.ir.diagnostics import Refused as Refused
    from lepton_cc.report import LayerReport as LayerReport
    from lepton_cc.report import MemoryReport as MemoryReport


__all__ = [
    "CompiledModel",
    "LayerReport",
    "LeptonError",
    "MemoryReport",
    "Refused",
    "blame",
    "compile",
    "evaluate",
]


def __getattr__(name: str) -> object:
    # Imported when first asked for: importing lepton_cc must cost nothing, `--help` waits for it.
    if name in ("LeptonError", "Refused"):
        from lepton_cc.ir import diagnostics

        return getattr(diagnostics, name)
    if name in ("LayerReport", "MemoryReport"):
        from lepton_cc import report

        return getattr(report, name)
    if name == "evaluate":
        from lepton_cc.evaluation.evaluate import evaluate

        return evaluate
    if name == "blame":
        from lepton_cc.attribution.blame import blame

        return blame
    if name in ("CompiledModel", "compile"):
        from lepton_cc import compiled_model

        return getattr(compiled_model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
