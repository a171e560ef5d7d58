"""Writes tests/fixtures/dyconv.onnx and int8_dyconv.onnx: the functions of that name, of three levels of 32 channels.

python python/tests/dyconv_function.py tests/fixtures
"""

import sys
from math import prod
from pathlib import Path

import torch

from glip_torch.dyconv import DyConv
from glip_torch.export.dyconv import write_dyconv
from glip_torch.export.pyramid import Pyramid
from glip_torch.export.writer import GraphWriter

CHANNELS, LEVELS = 32, 3
#: By the names of the files.
FILES = {"dyconv": False, "int8_dyconv": True}


def _numbers(*shape: int) -> torch.Tensor:
    """From -1 to 1, and the same on every machine."""
    return ((torch.arange(prod(shape)) * 7919 + 13) % 2011 / 1005 - 1).view(shape)


def dyconv() -> DyConv:
    module = DyConv(CHANNELS)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            reach = 0.2 if name == "offset.weight" else 0.5
            parameter.copy_(reach * _numbers(*parameter.shape))
            if "norm.weight" in name:
                parameter.add_(1)
    return module


def dyconv_function(int8: bool) -> bytes:
    w = GraphWriter("dyconv", int8=int8)
    maps = [
        w.input(f"level_{level}", "float32", ["batch", CHANNELS, f"h_{level}", f"w_{level}"]) for level in range(LEVELS)
    ]
    with torch.no_grad():
        levels = write_dyconv(w, dyconv(), Pyramid.of(w, maps))
    w.output("out", levels.positions, "float32", ["batch", "positions", CHANNELS])
    return w.model().SerializeToString()


if __name__ == "__main__":
    for name, int8 in FILES.items():
        (Path(sys.argv[1]) / f"{name}.onnx").write_bytes(dyconv_function(int8))
