"""GLIP: official's maths and this project's forms in PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from glip_torch.checkpoint import load_checkpoint, save_checkpoint
from glip_torch.config import GLIPConfig
from glip_torch.model import GLIP

from ..family import Family, Limits, Prompt, TorchContender, TorchKind
from ..flops import FlopCount
from .contender import GlipContender
from .straight import export_straight


@dataclass(frozen=True)
class Glip(Family):
    config: GLIPConfig

    torch_kinds: ClassVar = {
        "official": TorchKind("official maths, PyTorch", "official maths in PyTorch", pads_prompts=True),
        "forms": TorchKind("our forms, PyTorch", "our forms in PyTorch"),
    }
    components: ClassVar = {
        "image_encoder": "image encoder",
        "text_encoder": "text encoder",
        "fusion": "fusion",
        "bi_attention": "· bi-attention",
        "text_layers": "· text layers",
        "dyconv": "· DyConv",
        "head": "head",
    }
    limits: ClassVar = Limits(
        speedup=6.5, floor=1.25, straight=0.8, second_prompt=0.62, names=0.65, memory_gb=2.2, load_seconds=3.0
    )
    compares_straight_export: ClassVar = True

    def build(self) -> nn.Module:
        return GLIP(self.config).eval()

    def save(self, model: nn.Module, checkpoint: Path) -> None:
        save_checkpoint(model, checkpoint)

    def load(self, checkpoint: Path) -> nn.Module:
        return load_checkpoint(checkpoint, self.config.text.heads)

    @property
    def vocabulary_size(self) -> int:
        return self.config.text.vocab_size

    def prompt(self, tokens: int) -> Prompt:
        ids = np.arange(1, tokens + 1, dtype=np.int64)[None]
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}

    def contender(self, kind: str, model: nn.Module, pixels: Tensor) -> TorchContender:
        return GlipContender(model, pixels, official=kind == "official")

    def count(self, model: nn.Module, pixels: Tensor, tokens: int, flops: FlopCount) -> None:
        ids = torch.empty(1, tokens, dtype=torch.int64, device="meta")
        levels = flops.run("image_encoder", model.image_encoder, pixels)
        # Without a mask: looking whether it hides anything takes a tensor with values.
        bert = model.text_encoder.bert
        text = flops.run("text_encoder", lambda: bert(input_ids=ids).last_hidden_state)
        for layer in model.tower.layers:
            levels, text = flops.run("bi_attention", layer.fusion, levels, text, ids)
            if layer.text_layer is not None:
                text = flops.run("text_layers", layer.text_layer, text, ids)
            levels = flops.run("dyconv", layer.dyconv, levels)
        flops.run("head", model.head, levels, text)

    def export_straight(self, model: nn.Module, path: Path) -> None:
        export_straight(model, path)
