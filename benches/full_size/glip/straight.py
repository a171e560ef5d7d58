"""The image encoder as PyTorch's exporter writes it, without any of this project's work on graphs."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import onnx
import torch

from glip_torch.config import STRIDES
from glip_torch.model import GLIP

OPSET = 22


def export_straight(model: GLIP, path: Path) -> None:
    height, width = (STRIDES[2] * torch.export.Dim(f"{side}_blocks", min=1) for side in ("height", "width"))
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            model.image_encoder,
            (torch.randn(3, 3, 160, 224),),
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC, 2: height, 3: width},),
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )
        exported = torch.onnx.export(program, opset_version=OPSET, dynamo=True, input_names=["pixels"])
    onnx.save(exported.model_proto, path)
