"""From graph to code: the kernel IR, lowerings, the program, and the emitters for LLVM and C."""
