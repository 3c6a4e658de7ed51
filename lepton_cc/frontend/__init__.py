"""The ONNX frontend: from a model file to the graph; one file an operator family."""
