"""Checks a compiled model against the original: outputs against ONNX Runtime, layers against NumPy."""
