"""LLVM: programs as LLVM IR text, compiled by llvmlite, which nothing else imports."""
