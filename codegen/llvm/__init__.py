"""LLVM: kernels and programs as LLVM IR text, compiled by llvmlite; nothing else imports llvmlite."""
