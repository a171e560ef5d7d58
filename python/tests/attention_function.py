"""Writes tests/fixtures/deformable_attention.onnx: the function of that name, of two levels, three heads and four points, in
pieces of 50 queries at most.

    python python/tests/attention_function.py tests/fixtures/deformable_attention.onnx
"""

import sys
from pathlib import Path

from glip_torch.export.grounding_dino.layers import DeformableAttention
from glip_torch.export.writer import GraphWriter


def attention_function() -> bytes:
    w = GraphWriter("deformable_attention")
    inputs = [
        w.input("values", "float32", ["batch", "rows", 24]),
        w.input("sizes", "int64", [2, 2]),
        w.input("places", "float32", ["batch", "queries", 3, 2, 4, 2]),
        w.input("shares", "float32", ["batch", "queries", 3, 2, 4]),
    ]
    body = DeformableAttention(heads=3, levels=2, points=4, width=24, piece=50)
    out = w.function("DeformableAttention", *inputs, body=body.write)
    w.output("out", out, "float32", ["batch", "queries", 24])
    return w.model().SerializeToString()


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(attention_function())
