"""The teacher: what a model sees of the phrases of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from tokenizers import Encoding, Tokenizer

from ..config import OFFICIAL
from ..data.grounding import Phrase, Span, clip_box
from ..model import GLIP
from ..postprocess import Detections, detect, to_edges
from ..preprocess import normalise, pad, resize
from ..tokenizer import phrase_tokens


class UnusableText(ValueError):
    """A text that the model cannot be asked."""


@dataclass(frozen=True)
class TeacherOptions:
    """How images are shown to the teacher, and the longest prompt; the defaults are official's."""

    short_side: int = OFFICIAL.short_side
    long_side: int = OFFICIAL.long_side
    max_tokens: int = 256


class Teacher:
    def __init__(self, model: GLIP, tokenizer: Tokenizer, options: TeacherOptions | None = None):
        self.model, self.tokenizer, self.options = model.eval(), tokenizer, options or TeacherOptions()

    def label(self, image: Image.Image, text: str, phrases: Sequence[tuple[Span, ...]]) -> tuple[Phrase, ...]:
        """Each phrase with the boxes that the model finds for it, in pixels of the image and with their scores.

        A phrase is the characters of one or several spans. Raises `UnusableText` if the text has too many tokens; phrases
        that have none are left out.
        """
        encoding = self.tokenizer.encode(text)
        if len(encoding.ids) > self.options.max_tokens:
            raise UnusableText(f"the text has {len(encoding.ids)} tokens, the model takes {self.options.max_tokens}")
        asked = [(spans, tokens) for spans in phrases if (tokens := _tokens(encoding, spans))]
        if not asked:
            return ()
        found = self._detect(image, encoding.ids, [tokens for _, tokens in asked])
        return tuple(_phrase(spans, number, found, image) for number, (spans, _) in enumerate(asked))

    @torch.no_grad()
    def _detect(self, image: Image.Image, ids: list[int], phrases: list[list[int]]) -> Detections:
        resized = resize(image, self.options.short_side, self.options.long_side)
        input_ids = torch.tensor([ids])
        mask = torch.ones_like(input_ids)
        pyramid = self.model.image_encoder(pad(normalise(np.asarray(resized)))[None])
        hidden, _ = self.model.text_encoder(input_ids, mask)
        output = self.model.head(*self.model.fuse(pyramid, hidden, mask))
        sizes, config = [tuple(level.shape[2:]) for level in pyramid], self.model.config
        size = (resized.height, resized.width)
        found = detect(output, 0, phrases, sizes, config.strides, config.anchor_sizes, size)
        return found.scaled(image.width / resized.width, image.height / resized.height)


def _tokens(encoding: Encoding, spans: tuple[Span, ...]) -> list[int]:
    """The tokens of a phrase, none if a span has none."""
    try:
        return sorted({token for span in spans for token in phrase_tokens(encoding, *span)})
    except ValueError:
        return []


def _phrase(spans: tuple[Span, ...], number: int, found: Detections, image: Image.Image) -> Phrase:
    mine = found.labels == number
    pairs = zip(to_edges(found.boxes[mine]).tolist(), found.scores[mine].tolist())
    clipped = [(clip_box(tuple(box), image.width, image.height), score) for box, score in pairs]
    kept = [(box, score) for box, score in clipped if box is not None]
    return Phrase(spans, tuple(box for box, _ in kept), tuple(score for _, score in kept))
