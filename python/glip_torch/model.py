"""GLIP: the image encoder, the text encoder, the fusion tower and the grounding head, in a row."""

from __future__ import annotations

from torch import Tensor, nn

from .config import UNKNOWN, GLIPConfig
from .csp_darknet import CSPDarknetEncoder
from .fusion import Tower
from .head import GroundingHead, HeadOutput
from .image_encoder import ImageEncoder
from .text_encoder import TextEncoder, mask_padding


class GLIP(nn.Module):
    #: As the checkpoint says, or the run that makes it.
    recommended = UNKNOWN

    def __init__(self, config: GLIPConfig):
        super().__init__()
        self.config = config
        encoder = CSPDarknetEncoder if config.decoupled else ImageEncoder
        self.image_encoder = encoder(config.backbone, config.channels)
        self.text_encoder = TextEncoder(config.text)
        self.tower = Tower(config)
        self.head = GroundingHead(config.fused_channels, config.text.hidden_size, len(config.strides))

    def forward(self, pixels: Tensor, input_ids: Tensor, attention_mask: Tensor) -> HeadOutput:
        """`pixels [batch, 3, height, width]`, multiples of 32; ids and mask `[batch, tokens]`."""
        pyramid = self.image_encoder(pixels)
        hidden, _ = self.text_encoder(input_ids, attention_mask)
        levels, text = self.fuse(pyramid, hidden, attention_mask)
        return self.head(levels, text)

    def fuse(self, pyramid: list[Tensor], hidden: Tensor, attention_mask: Tensor) -> tuple[list[Tensor], Tensor]:
        """The tower's levels, and the text states that the head compares them with."""
        levels, fused = self.tower(pyramid, hidden, attention_mask)
        fusion = self.config.fusion
        if fusion is not None and fusion.fused_text:
            return levels, fused
        return levels, mask_padding(hidden, attention_mask)
