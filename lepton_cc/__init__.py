"""lepton-cc: compiles a trained ONNX model into the code that runs it on an edge chip."""
