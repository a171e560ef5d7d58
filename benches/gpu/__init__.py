"""GLIP on a GPU: PyTorch, ONNX Runtime from Python and this crate."""
