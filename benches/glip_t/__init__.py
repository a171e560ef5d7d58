"""`python -m benches.glip_t`: full-size GLIP, this crate against PyTorch, ONNX Runtime and the machine's limit."""
