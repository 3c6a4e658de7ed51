"""Errors of lepton-cc: one tree, and the diagnostics that a refusal carries.

    LeptonError                 everything that lepton-cc raises on purpose
    ├── UserError               the input, the wish or the machine is at fault: exit code 1
    │   ├── Refused             one or more diagnostics, reported all together
    │   └── ToolchainError      a tool or library that this wish needs is absent or failed
    ├── UsageError              the command line or an argument makes no sense: exit code 2
    └── InternalError           a bug of lepton-cc: exit code 70
        └── VerificationError   a pass left a graph that breaks a law of the IR

Every diagnostic is built here or from a `Code` below, so that the texts stay of one kind:
`error[LPT1001]: what, in which ONNX node: why; what to do`.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Code(enum.StrEnum):
    """Stable numbers: 1xxx model, 2xxx shapes and types, 3xxx tools, 4xxx memory, 5xxx checks."""

    MODEL_UNREADABLE = "LPT1001"
    MODEL_MALFORMED = "LPT1002"
    UNSUPPORTED_OPERATOR = "LPT1003"
    UNSUPPORTED_FORM = "LPT1004"
    UNSUPPORTED_OPSET = "LPT1005"
    EXTERNAL_DATA = "LPT1006"
    LIMIT_EXCEEDED = "LPT1007"
    OPEN_DIMENSION = "LPT2001"
    TYPE_MISMATCH = "LPT2002"
    UNSUPPORTED_TYPE = "LPT2003"
    BAD_INPUT_DATA = "LPT2004"
    BAD_CALIBRATION_DATA = "LPT2005"
    TOOL_MISSING = "LPT3001"
    TOOL_FAILED = "LPT3002"
    TARGET_UNSUPPORTED = "LPT3003"
    OUTPUT_FAILED = "LPT3004"
    DOES_NOT_FIT = "LPT4001"
    CHECK_FAILED = "LPT5001"
    INVALID_IR_TEXT = "LPT5002"
    EMULATION_FAULT = "LPT5003"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One refusal: what is wrong, in which ONNX node, why, and what the user can do.

    `node` is `OpType 'name'` (or the nearest thing that the model has), empty when the whole
    file is meant. `hint` is an instruction, empty only when nothing helps. `inputs` are the graph
    inputs whose value has to be known at compile time to get past this refusal.
    """

    code: Code
    message: str
    node: str = ""
    hint: str = ""
    inputs: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f" in {self.node}" if self.node else ""
        advice = f"; {self.hint}" if self.hint else ""
        return f"error[{self.code}]{where}: {self.message}{advice}"


class LeptonError(Exception):
    """Base of everything that lepton-cc raises on purpose; `exit_code` is the command line's."""

    exit_code = 70


class UserError(LeptonError):
    """The input, the wish or the machine is at fault."""

    exit_code = 1


class Refused(UserError):
    """One or more diagnostics that belong together, in the order of the model's nodes."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(str(diagnostic) for diagnostic in self.diagnostics))


class ToolchainError(UserError):
    """A tool chain, an emulator or a library that this wish needs is absent or failed."""

    def __init__(self, message: str, hint: str = "", code: Code = Code.TOOL_MISSING) -> None:
        self.diagnostic = Diagnostic(code, message, hint=hint)
        super().__init__(str(self.diagnostic))


class UsageError(LeptonError):
    """The command line or an argument makes no sense."""

    exit_code = 2


class InternalError(LeptonError):
    """A bug of lepton-cc."""


class VerificationError(InternalError):
    """A pass left a graph that breaks a law of the IR."""


class TypeInferenceError(Exception):
    """Operand types or attributes that an op does not accept; the frontend adds the ONNX node."""


def refuse(code: Code, message: str, *, node: str = "", hint: str = "") -> Refused:
    """Builds the exception for a single diagnostic."""
    return Refused([Diagnostic(code, message, node, hint)])
