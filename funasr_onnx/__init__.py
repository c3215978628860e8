"""ONNX Runtime back end: upstream's `funasr_onnx` classes over the shared, torch-free half of `funasr`."""
