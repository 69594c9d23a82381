"""Worlds, heads and experience in the forms of other libraries: ONNX graphs, Minari data sets."""
