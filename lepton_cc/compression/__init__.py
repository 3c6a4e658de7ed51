"""Compression of a float model: stages from graph to graph, then an IR file, ONNX and a report."""
