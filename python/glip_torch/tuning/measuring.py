"""Average precision of a method's model on a data set."""

from __future__ import annotations

import torch

from ..average_precision import coco_precision, mean_precision, xywh
from ..config import level_sizes
from ..head import HeadOutput
from ..postprocess import Detections, detect
from .coco import CocoData
from .examples import FrozenStates, batches
from .methods import Method
from .phrases import TuningPrompt


def measure(method: Method, prompt: TuningPrompt, data: CocoData, states: FrozenStates, batch: int) -> dict[str, float]:
    """COCO's AP and AP50 with all detections, whatever their score."""
    detections = []
    for indices in batches(states.examples, range(len(states.examples)), batch):
        with torch.no_grad():
            output = on_cpu(method(*states.batch(indices)))
        for row, index in enumerate(indices):
            found = _detections(method, prompt, output, row, states, index)
            detections += _coco_detections(data, states.examples[index].image.id, found)
    return mean_precision(coco_precision(data.source, detections))


def on_cpu(output: HeadOutput) -> HeadOutput:
    return HeadOutput(output.logits.cpu(), output.deltas.cpu(), output.centerness.cpu())


def _detections(
    method: Method, prompt: TuningPrompt, output: HeadOutput, row: int, states: FrozenStates, index: int
) -> Detections:
    example, config = states.examples[index], method.model.config
    found = detect(
        output,
        row,
        [phrase.tokens for phrase in prompt.phrases],
        level_sizes(*example.padded, config.strides),
        config.strides,
        config.anchor_sizes,
        example.size[::-1],
    )
    return example.to_original(found)


def _coco_detections(data: CocoData, image_id: int, found: Detections) -> list[dict]:
    return [
        {"image_id": image_id, "category_id": data.category_ids[category], "bbox": xywh(box), "score": score}
        for box, score, category in zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist())
    ]
