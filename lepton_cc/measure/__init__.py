"""Measures compiled models on this machine: times, ONNX Runtime's beside them, layer by layer."""
