"""Writes tests/fixtures/swin_block.onnx and int8_swin_block.onnx: the functions of these names, one without a shift and one with,
a block of 8 channels in windows of 4 each.

    python python/tests/swin_block_function.py tests/fixtures
"""

import sys
from math import prod
from pathlib import Path

import torch

from glip_torch.export.image_encoder import write_block
from glip_torch.export.writer import GraphWriter
from glip_torch.image_encoder import SwinBlock

CHANNELS, HEADS, WINDOW = 8, 2, 4
#: Whether in 8 bits, by the names of the files.
FIXTURES = {"swin_block": False, "int8_swin_block": True}


def _numbers(seed: int, *shape: int) -> torch.Tensor:
    """From -1 to 1, and the same on every machine."""
    return (((torch.arange(prod(shape)) + 31 * seed) * 7919 + 13) % 2011 / 1005 - 1).view(shape)


def _block(shift: int) -> SwinBlock:
    block = SwinBlock(CHANNELS, HEADS, WINDOW, shift)
    with torch.no_grad():
        for seed, parameter in enumerate(block.parameters()):
            parameter.copy_(_numbers(seed + shift, *parameter.shape))
        # What goes into another bias is a product, which may be rounded otherwise elsewhere.
        block.attn.qkv.bias[2 * CHANNELS :] = 0
    return block


def swin_block_function(int8: bool) -> bytes:
    w = GraphWriter("swin_block", int8=int8)
    tokens = w.input("tokens", "float32", ["tokens", CHANNELS])
    size, pieces = w.input("size", "int64", [3]), w.input("pieces", "int64", [1])
    for shift in (0, 3):
        with w.scope(f"shift_{shift}"):
            out = write_block(w, _block(shift), tokens, size, pieces)
        w.output(f"out_{shift}", out, "float32", ["tokens", CHANNELS])
    return w.model().SerializeToString()


if __name__ == "__main__":
    for name, int8 in FIXTURES.items():
        (Path(sys.argv[1]) / f"{name}.onnx").write_bytes(swin_block_function(int8))
