"""`python -m benches.full_size`: full-size models, this crate against PyTorch, ONNX Runtime and the machine's limit."""
