"""Grounding DINO in PyTorch, eager: transformers' module."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from glip_torch.config import level_sizes
from glip_torch.export.grounding_dino import strides
from glip_torch.grounding_dino import GroundingDino

from ..family import STAGES, TorchContender
from ..stopwatch import Stopwatch


class TransformersContender(TorchContender):
    """As it can only be run from start to end, its modules are timed from within."""

    def __init__(self, model: GroundingDino, pixels: Tensor):
        super().__init__(model, pixels)
        self.clock = Stopwatch()
        inner = model.model
        self._time("image_encoder", inner.backbone, *inner.input_proj_vision)
        self._time("text_encoder", inner.text_backbone, inner.text_projection)
        self._time("fusion", inner.encoder)
        for layer in inner.encoder.layers:
            self._time("bi_attention", layer.fusion_layer)
            self._time("text_layers", layer.text_enhancer_layer)
            self._time("image_layers", layer.deformable_layer)

    def ground(self, prompt: dict[str, Tensor], clock: Stopwatch) -> None:
        self.clock = clock
        ids, mask = prompt["input_ids"], prompt["attention_mask"]
        with clock("whole"):
            found = self.model(pixel_values=self.pixels, input_ids=ids, attention_mask=mask)
        # No module of its own: the choice of queries, the decoder, what is said of them.
        seconds = clock.seconds
        seconds["head"] = seconds["whole"] - sum(seconds[stage] for stage in STAGES if stage != "head")

        sizes = level_sizes(*self.pixels.shape[2:], strides(self.model))
        image = found.encoder_last_hidden_state_vision.transpose(1, 2)
        levels = image.split([height * width for height, width in sizes], dim=2)
        self.outputs = {f"fused_{index}": level.unflatten(2, sizes[index]) for index, level in enumerate(levels)}
        self.outputs |= {"fused_hidden": found.encoder_last_hidden_state_text}
        self.outputs |= {"logits": found.logits[..., : ids.shape[1]], "boxes": found.pred_boxes}

    def _time(self, component: str, *modules: nn.Module) -> None:
        for module in modules:
            module.forward = self._timed(component, module.forward)

    def _timed(self, component: str, forward: Callable) -> Callable:
        def run(*inputs, **named):
            with self.clock(component):
                return forward(*inputs, **named)

        return run
