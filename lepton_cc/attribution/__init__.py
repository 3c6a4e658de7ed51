"""Says which layers of a quantized model lose its accuracy, and why, by swapping them."""
