"""Makes of a fitted model what is served: ONNX, the parity check, the bundle."""
