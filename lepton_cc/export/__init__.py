"""Export: writes graphs as ONNX models, quantized ones with their QDQ pairs."""
