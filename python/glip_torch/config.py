"""The sizes that define a GLIP, how it is asked, and what it is best run with. Everything else is fixed by the architecture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

#: Strides of the pyramid levels P3..P7, in input pixels.
STRIDES = (8, 16, 32, 64, 128)
#: Between the names of a list.
SEPARATOR = ". "


def level_sizes(height: int, width: int, strides: Sequence[int]) -> list[tuple[int, int]]:
    """Sizes of the pyramid levels of a padded image: every level halves the one before, rounding up."""
    return [(math.ceil(height / stride), math.ceil(width / stride)) for stride in strides]


@dataclass(frozen=True)
class SwinConfig:
    embed_dim: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    #: The stages whose features come out, counted from 0.
    outputs: tuple[int, ...] = (1, 2, 3)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage: doubled by every patch merging."""
        return tuple(self.embed_dim * 2**stage for stage in range(len(self.depths)))


@dataclass(frozen=True)
class CSPDarknetConfig:
    """YOLOX's image encoder, of three levels; the tower of a model that has it is made of YOLOX's decoupled convolutions."""

    stem: int
    #: Bottlenecks of each stage.
    depths: tuple[int, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the stem and of each stage, which doubles them."""
        return tuple(self.stem * 2**stage for stage in range(len(self.depths) + 1))


@dataclass(frozen=True)
class TextConfig:
    vocab_size: int = 30522
    hidden_size: int = 768
    layers: int = 12
    heads: int = 12
    intermediate_size: int = 3072
    max_positions: int = 512
    #: Ids of the tokens that part phrases. If there are any, words see those of their own phrase only, and positions are
    #: counted within it, so that a phrase means the same wherever it stands in whatever list.
    boundaries: tuple[int, ...] = ()


@dataclass(frozen=True)
class FusionConfig:
    """Bi-attention between image and words in every tower layer."""

    embed_dim: int = 2048
    heads: int = 8
    #: Whether a BERT layer follows the last bi-attention, which makes the tower's text state
    #: (rather than the text encoder's) the one that the logits are computed with.
    fused_text: bool = True
    #: What image and words tell each other is added to their states as they are, through gates that begin at zero, and no
    #: text layers follow: for fusion that is put into a detector that works without.
    gated: bool = False


@dataclass(frozen=True)
class GLIPConfig:
    backbone: SwinConfig | CSPDarknetConfig
    text: TextConfig
    channels: int
    tower_layers: int
    fusion: FusionConfig | None
    #: Side of the square anchor of each level, in input pixels.
    anchor_sizes: tuple[int, ...] = tuple(8 * stride for stride in STRIDES)

    @property
    def decoupled(self) -> bool:
        """Whether the tower is YOLOX's: what tells things apart and what places boxes, side by side in twice the channels."""
        return isinstance(self.backbone, CSPDarknetConfig)

    @property
    def fused_channels(self) -> int:
        """Of the levels that the head reads."""
        return 2 * self.channels if self.decoupled else self.channels

    @property
    def strides(self) -> tuple[int, ...]:
        return STRIDES[: len(self.anchor_sizes)]

    @property
    def variant(self) -> str:
        if self.fusion is None:
            return "GLIP-T (A)"
        return "GLIP-L" if self.tower_layers == 8 else "GLIP-T"


@dataclass(frozen=True)
class Recommended:
    """What a model is best run with, which no tensor tells; None where it is not known. It travels in the checkpoint."""

    #: An image is resized to this short side, unless the long side would pass its limit.
    short_side: int | None = None
    long_side: int | None = None
    #: Cut on a detection's score.
    score_threshold: float | None = None
    #: Whether training shared a target of 1 among a phrase's tokens, as official's does, or gave it to each of them.
    shared_target: bool | None = None

    @property
    def sides(self) -> tuple[int, int] | None:
        """Short and long side, if both are known."""
        return None if self.short_side is None or self.long_side is None else (self.short_side, self.long_side)

    def filled(self, others: Recommended) -> Recommended:
        """These, and the others' where these are not known."""
        return Recommended(
            **{name: getattr(others, name) if value is None else value for name, value in vars(self).items()}
        )

    def trained_on(self, sides: tuple[int, int], shared_target: bool) -> Recommended:
        """Those of the model after training at these sizes with this target."""
        # The other target makes scores of another scale.
        threshold = self.score_threshold if shared_target == self.shared_target else None
        return Recommended(*sides, threshold, shared_target)


UNKNOWN = Recommended()
#: What every released GLIP is run with.
OFFICIAL = Recommended(800, 1333, score_threshold=0.5, shared_target=True)

SWIN_T = SwinConfig(96, (2, 2, 6, 2), (3, 6, 12, 24), window=7)
SWIN_L = SwinConfig(192, (2, 2, 18, 2), (6, 12, 24, 48), window=12)

#: GLIP-T (A): no fusion.
GLIP_T_A = GLIPConfig(SWIN_T, TextConfig(), channels=256, tower_layers=6, fusion=None)
#: GLIP-T (B), (C) and GLIP-T share one architecture and differ in training data.
GLIP_T = GLIPConfig(SWIN_T, TextConfig(), channels=256, tower_layers=6, fusion=FusionConfig())
GLIP_L = GLIPConfig(SWIN_L, TextConfig(), channels=256, tower_layers=8, fusion=FusionConfig())
#: glip-nano: YOLOX-nano's eyes, and a text encoder that was taught its words. The ids of what parts phrases are those of its
#: vocabulary, whose size is set where it is made.
NANO_PHOTOS = GLIPConfig(
    CSPDarknetConfig(stem=16, depths=(1, 3, 3, 1)),
    TextConfig(vocab_size=7000, hidden_size=192, layers=3, heads=3, intermediate_size=512, max_positions=256),
    channels=64,
    tower_layers=2,
    fusion=FusionConfig(embed_dim=128, heads=4, gated=True),
    anchor_sizes=(64, 128, 256),
)
#: The first glip-nano, of shapes alone: small enough to train on a CPU within hours. Windows of 8 divide the stages
#: of its 256-pixel inputs, where windows of 7 would pad up to three times as many tokens.
NANO = GLIPConfig(
    SwinConfig(24, (1, 1, 3, 1), (1, 2, 4, 8), window=8),
    TextConfig(vocab_size=229, hidden_size=128, layers=2, heads=4, intermediate_size=256, max_positions=256),
    channels=48,
    tower_layers=3,
    fusion=FusionConfig(embed_dim=128),
)
#: glip-drawn, for the world of things and shapes: a wider image encoder and pyramid, as there are a dozen times as many
#: things to tell apart, and more words.
NANO_MIXED = replace(
    NANO,
    backbone=SwinConfig(32, (1, 1, 3, 1), (1, 2, 4, 8), window=8),
    text=replace(NANO.text, vocab_size=498),
    channels=64,
)
