"""From the optimized graph to the target's code, by way of kernels and programs."""
