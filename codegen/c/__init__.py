"""The emitter that prints kernels as portable C99."""
