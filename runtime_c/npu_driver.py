"""What the compiler must know of the driver in `runtime_c/npu/driver`; npu.h says the same."""

# The call of generated code that runs a segment on the engine, and the most bytes of stack that it
# takes on rv32 below its caller, with all that it calls. A test measures it.
INVOKE = "lepton_npu_invoke"
INVOKE_STACK_BYTES = 512
