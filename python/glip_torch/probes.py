"""Deep supervision for training from scratch: attribute classifiers on the image features of every stage.

Grounding alone is slow to start: image features learn a colour only once some word points at it, and a word points at it
only once the features show it. Classifiers for the attributes of the scenes' objects, on the pyramid and on each tower
layer, break the circle. They exist in training only; attributes are classified apart, so no combination is learnt as such.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .data.scenes import SceneObject, Thing
from .data.worlds import WORLDS

#: Attributes and their values, as `worlds.World` has them.
Attributes = dict[str, tuple[str, ...]]
ATTRIBUTES = WORLDS["shapes"].attributes
#: Label of an attribute that an object does not have: a thing's shape, a shape's noun.
NONE = -100


def attribute_labels(thing: SceneObject | Thing, attributes: Attributes = ATTRIBUTES) -> list[int]:
    """Index of each of the object's attributes among its values; `NONE` where it lacks it."""
    own = [(values, getattr(thing, name, None)) for name, values in attributes.items()]
    return [NONE if value is None else values.index(value) for values, value in own]


class AttributeProbes(nn.Module):
    def __init__(self, channels: int, stages: int, attributes: Attributes = ATTRIBUTES):
        super().__init__()
        self.classes = [len(values) for values in attributes.values()]
        self.classifiers = nn.ModuleList(nn.Linear(channels, sum(self.classes)) for _ in range(stages))

    def forward(self, stages: list[list[Tensor]], assigned: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy over stages and attributes.

        `stages` are pyramids, five of [batch, channels, h, w] each; `assigned [batch, anchors]` the object at each anchor, -1
        for none; `labels [batch, objects, attributes]`.
        """
        image, anchor = (assigned >= 0).nonzero(as_tuple=True)
        if len(image) == 0:
            return sum(parameter.sum() * 0 for parameter in self.parameters())
        truth = labels[image, assigned[image, anchor]]
        losses = []
        for levels, classifier in zip(stages, self.classifiers):
            features = torch.cat([level.flatten(2) for level in levels], dim=2).transpose(1, 2)[image, anchor]
            # Scales differ from stage to stage, and only the direction should matter.
            scores = classifier(F.layer_norm(features, features.shape[-1:]))
            losses += [_mean_loss(part, truth[:, n]) for n, part in enumerate(scores.split(self.classes, dim=1))]
        return torch.stack(losses).mean()


def _mean_loss(scores: Tensor, truth: Tensor) -> Tensor:
    """Mean cross entropy over the anchors that have the attribute; 0 if none has."""
    if (truth == NONE).all():
        return scores.sum() * 0
    return F.cross_entropy(scores, truth, ignore_index=NONE)
