"""What the compiler must know of the driver in `runtime_c/npu/driver`; npu.h says the same."""

# The calls by which generated code runs a segment on the engine, and the most bytes of stack that
# one takes on rv32 below its caller, with all that it calls. A test measures it.
INVOKE = "lepton_npu_invoke"
START, POLL, WAIT = "lepton_npu_start", "lepton_npu_poll", "lepton_npu_wait"
CALLS = frozenset({INVOKE, START, POLL, WAIT})
CALL_STACK_BYTES = 512
