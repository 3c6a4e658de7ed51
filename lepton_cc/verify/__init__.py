"""Checks a compiled model against its original: outputs by ONNX Runtime, layers by NumPy."""
