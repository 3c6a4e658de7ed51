"""Stack of the compiler's run-time library, which generated code calls where the CPU lacks it."""

def builtin_stack_bytes(name: str) -> int:
    return 512
