"""Networks -> ONNX files, checked on the spot."""
