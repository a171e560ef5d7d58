"""DyHead: the closed-set detector that GLIP is compared with (paper, section 3.1), made of GLIP's own parts.

The image encoder, the tower and the head are GLIP's; in place of words there is one output for each class of a fixed list.
What trains and measures GLIP does the same with this model: its prompts are lists of classes, each of which is one token
(`tokenizer.class_tokenizer`), and it gives the scores of those.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import UNKNOWN, GLIPConfig
from .fusion import Tower
from .head import LOGIT_LIMIT, PRIOR_LOGIT, Head, HeadOutput
from .image_encoder import ImageEncoder


class DyHead(nn.Module):
    """`config.text.vocab_size` is the number of classes; the rest of `config.text` means nothing here."""

    #: As in a GLIP.
    recommended = UNKNOWN

    def __init__(self, config: GLIPConfig):
        super().__init__()
        self.config = config = replace(config, fusion=None)
        self.image_encoder = ImageEncoder(config.backbone, config.channels)
        self.text_encoder = ClassList()
        self.tower = Tower(config)
        self.head = ClassHead(config.channels, config.text.vocab_size, len(config.strides))

    def forward(self, pixels: Tensor, input_ids: Tensor, attention_mask: Tensor) -> HeadOutput:
        """As `GLIP.forward`; `input_ids [batch, tokens]` are classes, and the logits theirs."""
        return self.head(*self.fuse(self.image_encoder(pixels), input_ids, attention_mask))

    def fuse(self, pyramid: list[Tensor], classes: Tensor, attention_mask: Tensor) -> tuple[list[Tensor], Tensor]:
        """The tower's levels; the classes as they are."""
        levels, _ = self.tower(pyramid)
        return levels, classes


class ClassList(nn.Module):
    """Where GLIP has its text encoder: a class needs no encoding."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        return input_ids, input_ids


class ClassHead(Head):
    def __init__(self, channels: int, classes: int, levels: int):
        super().__init__()
        self.cls_logits = nn.Conv2d(channels, classes, 1)
        nn.init.normal_(self.cls_logits.weight, std=0.01)
        nn.init.constant_(self.cls_logits.bias, PRIOR_LOGIT)
        self.add_box_layers(channels, levels)

    def align(self, anchors: Tensor, asked: Tensor) -> Tensor:
        """Scores of every anchor `[batch, anchors, channels]` for the classes `asked [batch, tokens]`.

        What comes after the last class is none of them, and never found.
        """
        scores = anchors @ self.cls_logits.weight.flatten(1).T + self.cls_logits.bias
        scores = F.pad(scores, (0, 1), value=-LOGIT_LIMIT)
        return torch.gather(scores, 2, asked[:, None].expand(-1, anchors.shape[1], -1))
