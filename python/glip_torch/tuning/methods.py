"""The three ways to tune: what is trained, what is frozen and computed once, and how the output follows from that.

The sets of parameters are those of official GLIP (`TUNING_HIGHLEVEL_OVERRIDE`): `language_prompt_v2`, `linear_prob`, `full`.
Unlike there, dropout is off in all of them, and pictures are not flipped or rescaled at random: what is frozen gives the
same for a picture every time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..checkpoint import official_name
from ..dyconv import DyConv
from ..head import HeadOutput
from ..model import GLIP

#: A batch of what the frozen part makes of pictures: tensors with a row for each.
Frozen = tuple[Tensor, ...]


class Method(nn.Module, ABC):
    """A model that is asked one prompt, `input_ids [tokens]`, and of which some parameters are trained."""

    #: What holds the result, in the run's folder.
    file = "model.pth"
    #: Official's rates, which an option may change; the text encoder has one of its own.
    learning_rate = 1e-4
    language_rate = 1e-5
    weight_decay = 0.05

    def __init__(self, model: GLIP, input_ids: Tensor):
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        for module in model.modules():
            if isinstance(module, DyConv):
                # Has no dropout; training mode is what chooses the operator that is fast on a CPU.
                module.train()
        self.register_buffer("input_ids", input_ids[None], persistent=False)
        self.register_buffer("attention_mask", torch.ones_like(input_ids[None]), persistent=False)

    @abstractmethod
    def freeze(self, pixels: Tensor) -> Frozen:
        """What never changes: from `pixels [batch, 3, height, width]` as far as nothing is trained."""

    @abstractmethod
    def forward(self, *frozen: Tensor) -> HeadOutput:
        """The rest of the way."""

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and parameters that are trained."""
        return ((name, parameter) for name, parameter in self.named_parameters() if parameter.requires_grad)

    def official_name(self, name: str) -> str:
        return official_name(name.removeprefix("model."), self.model.config)

    def _fuse(self, pyramid: list[Tensor], hidden: Tensor) -> tuple[list[Tensor], Tensor]:
        batch = len(pyramid[0])
        return self.model.fuse(pyramid, hidden.expand(batch, -1, -1), self.attention_mask.expand(batch, -1))


def tower_reads(model: GLIP) -> bool:
    """Whether the tower sees the text: not without fusion, and not while its gates are closed."""
    fusions = [layer.fusion for layer in model.tower.layers if layer.fusion is not None]
    return any(gate.any() for fusion in fusions for gate in (fusion.gamma_v, fusion.gamma_l))


class PromptTuning(Method):
    """One offset for each token, added to the text encoder's two outputs; the whole model is frozen."""

    file = "prompt.safetensors"
    learning_rate = 0.05
    weight_decay = 0.25

    def __init__(self, model: GLIP, input_ids: Tensor):
        super().__init__(model, input_ids)
        with torch.no_grad():
            hidden, _ = model.text_encoder(self.input_ids, self.attention_mask)
        self.register_buffer("hidden", hidden, persistent=False)
        self.offset = nn.Parameter(torch.zeros_like(hidden[0]))
        self.tower_reads = tower_reads(model)

    @torch.no_grad()
    def freeze(self, pixels: Tensor) -> Frozen:
        pyramid = self.model.image_encoder(pixels)
        if not self.tower_reads:
            pyramid, _ = self._fuse(pyramid, self.hidden)
        return tuple(pyramid)

    def text(self) -> tuple[Tensor, Tensor]:
        """The tuned `hidden` and `embedded`, `[tokens, width]`; they differ in padding only, and there is none."""
        tuned = self.hidden[0] + self.offset
        return tuned, tuned

    def forward(self, *frozen: Tensor) -> HeadOutput:
        hidden, embedded = self.text()
        if not self.tower_reads:
            return self.model.head(list(frozen), embedded.expand(len(frozen[0]), -1, -1))
        return self.model.head(*self._fuse(list(frozen), hidden[None]))

    def official_name(self, name: str) -> str:
        return "rpn.head.tunable_linear.weight" if name == "offset" else super().official_name(name)


class LinearTuning(Method):
    """The last layers alone, which map what the tower found to words, boxes and centres."""

    #: Parts of official names that are trained.
    NAMES = ("bbox_pred", "centerness", "dot_product_projection_text", "log_scale", "bias_lang", "bias0")

    def __init__(self, model: GLIP, input_ids: Tensor):
        super().__init__(model, input_ids)
        for name, parameter in model.head.named_parameters():
            parameter.requires_grad_(any(part in name for part in self.NAMES))

    @torch.no_grad()
    def freeze(self, pixels: Tensor) -> Frozen:
        hidden, _ = self.model.text_encoder(self.input_ids, self.attention_mask)
        levels, text = self._fuse(self.model.image_encoder(pixels), hidden)
        return (*levels, text)

    def forward(self, *frozen: Tensor) -> HeadOutput:
        *levels, text = frozen
        return self.model.head(levels, text)


class FullTuning(Method):
    """Everything but the bottom of the image encoder: its stem and first stage (`FREEZE_CONV_BODY_AT` 2)."""

    def __init__(self, model: GLIP, input_ids: Tensor):
        super().__init__(model, input_ids)
        model.requires_grad_(True)
        for module in model.image_encoder.bottom_modules():
            module.requires_grad_(False)

    @torch.no_grad()
    def freeze(self, pixels: Tensor) -> Frozen:
        return (self.model.image_encoder.bottom(pixels),)

    def forward(self, *frozen: Tensor) -> HeadOutput:
        pyramid = self.model.image_encoder.top(*frozen)
        hidden, _ = self.model.text_encoder(self.input_ids, self.attention_mask)
        return self.model.head(*self._fuse(pyramid, hidden))


METHODS: dict[str, type[Method]] = {"prompt": PromptTuning, "linear": LinearTuning, "full": FullTuning}
