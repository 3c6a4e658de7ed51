"""Worst-case stack of generated code, computed from the compiler's own assembly listing."""

from lepton_cc.artifacts.stack.usage import StackUsage, stack_usage

__all__ = ["StackUsage", "stack_usage"]
