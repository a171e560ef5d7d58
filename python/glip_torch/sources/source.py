"""What every kind of source is read into."""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Tokenizer
from torch import nn

from ..config import Recommended


@dataclass(frozen=True)
class Source:
    """A model to export, and what was found beside it."""

    #: In eval mode, in float32; its `recommended` says what it is best run with, as far as the source tells.
    model: nn.Module
    #: The family and the size, such as `Grounding DINO tiny`.
    variant: str
    #: What kind of source it is, such as `a Hugging Face folder`.
    form: str
    #: Where the weights came from, for the manifest: the name of a file, or of a model on the hub.
    weights: str
    #: Of the source itself, without padding and truncation.
    tokenizer: Tokenizer | None = None
    #: As the model card has it.
    licence: str | None = None

    @property
    def recommended(self) -> Recommended:
        """What the model is best run with, as far as the source tells."""
        return self.model.recommended

    @property
    def resize(self) -> tuple[int, int] | None:
        """Short and long side that images are resized to, if the source says both."""
        return self.recommended.sides

    @property
    def description(self) -> str:
        """One line for the user."""
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        return f"{self.variant}: {self.form}, {parameters / 1e6:.1f} M parameters, from {self.weights}"
