"""What is trained: the model, and the probes if there are any."""

from __future__ import annotations

from torch import Tensor, nn

from ..data.batches import Batch
from ..dyhead import DyHead
from ..head import HeadOutput
from ..model import GLIP
from ..probes import AttributeProbes


class Trained(nn.Module):
    def __init__(self, model: GLIP | DyHead, probes: AttributeProbes | None = None):
        super().__init__()
        self.model, self.probes = model, probes

    def forward(self, batch: Batch, present: Tensor | None = None) -> tuple[HeadOutput, Tensor | None]:
        """Raw outputs, in float32 whatever is computed in, and the probes' loss.

        `present [batch, anchors]` is the object at each anchor, -1 for none; needed if there are probes.
        """
        if self.probes is None:
            output = self.model(batch.pixels, batch.input_ids, batch.attention_mask)
            return _float(output), None
        stages, output = forward_stages(self.model, batch)
        return _float(output), self.probes(stages, present, batch.attributes)


def _float(output: HeadOutput) -> HeadOutput:
    return HeadOutput(output.logits.float(), output.deltas.float(), output.centerness.float())


def forward_stages(model: GLIP, batch: Batch) -> tuple[list[list[Tensor]], HeadOutput]:
    """`GLIP.forward`, with the levels of the pyramid and after each tower layer."""
    levels = model.image_encoder(batch.pixels)
    hidden, _ = model.text_encoder(batch.input_ids, batch.attention_mask)
    stages = [levels]
    for layer in model.tower.layers:
        levels, hidden = layer(levels, hidden, batch.attention_mask)
        stages.append(levels)
    return stages, model.head(levels, hidden)
