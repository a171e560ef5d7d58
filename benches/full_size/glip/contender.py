"""GLIP in PyTorch, eager: the official maths, or the same with this project's forms."""

from __future__ import annotations

from contextlib import nullcontext

from torch import Tensor, nn

from glip_torch.head import HeadOutput
from glip_torch.model import GLIP

from ..family import TorchContender
from ..stopwatch import Stopwatch
from .official import make_official, pad_text


class GlipContender(TorchContender):
    def __init__(self, model: GLIP, pixels: Tensor, official: bool):
        super().__init__(model, pixels)
        self.official = official
        if official:
            make_official(model)
        self.pyramid: list[Tensor] = []

    def called(self) -> list[nn.Module]:
        layers = [(layer.fusion, layer.text_layer, layer.dyconv) for layer in self.model.tower.layers]
        inner = [module for layer in layers for module in layer if module is not None]
        return [self.model.image_encoder, self.model.text_encoder, *inner, self.model.head]

    def ground(self, prompt: dict[str, Tensor], clock: Stopwatch) -> None:
        with clock("whole"):
            with clock("image_encoder"):
                self.pyramid = self.model.image_encoder(self.pixels)
            self._read(prompt, clock, dyconv=True)

    def prompt(self, prompt: dict[str, Tensor], clock: Stopwatch) -> None:
        """All but the image encoder and DyConv."""
        self._read(prompt, clock, dyconv=False)

    def _read(self, prompt: dict[str, Tensor], clock: Stopwatch, dyconv: bool) -> None:
        ids, mask = prompt["input_ids"], prompt["attention_mask"]
        tokens = ids.shape[1]
        if self.official:
            ids, mask = pad_text(ids, mask)
        with clock("text_encoder"):
            text, _ = self.model.text_encoder(ids, mask)
        levels = self.pyramid
        with clock("fusion"):
            for layer in self.model.tower.layers:
                with clock("bi_attention"):
                    levels, text = layer.fusion(levels, text, mask)
                with clock("text_layers") if layer.text_layer else nullcontext():
                    text = layer.text_layer(text, mask) if layer.text_layer else text
                if dyconv:
                    with clock("dyconv"):
                        levels = layer.dyconv(levels)
        with clock("head"):
            output = self.model.head(levels, text)
        self._keep(levels, text, output, tokens)

    def _keep(self, levels: list[Tensor], text: Tensor, output: HeadOutput, tokens: int) -> None:
        """Without padding."""
        self.outputs = {f"fused_{index}": level for index, level in enumerate(levels)}
        self.outputs |= {"fused_text": text[:, :tokens], "logits": output.logits[..., :tokens]}
        self.outputs |= {"deltas": output.deltas, "centerness": output.centerness}
