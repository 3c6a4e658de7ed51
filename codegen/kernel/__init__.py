"""The kernel IR: loops over buffers (`ir`), transformations of them, and our own math functions."""
