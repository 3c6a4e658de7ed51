"""The emitter that prints kernels as LLVM IR; the only home of llvmlite."""
