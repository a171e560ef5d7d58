"""Turns a checkpoint into a bundle: four ONNX graphs, a tokenizer and a manifest."""
