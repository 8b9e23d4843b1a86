"""Networks as ONNX files: export, passes over the graph, sizes that vary, and 8-bit integers."""
