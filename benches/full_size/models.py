"""The models that there are."""

from __future__ import annotations

from dataclasses import dataclass, replace

from glip_torch.config import GLIP_T, NANO

from .family import Family
from .glip import Glip
from .grounding_dino import SMALL, TINY, TransformersGroundingDino


@dataclass(frozen=True)
class Model:
    name: str
    family: Family
    #: Of the image.
    height: int
    width: int
    #: Whether its results are kept in the repository; the others try the benchmark itself in a minute.
    is_published: bool = True


_SMALL_GLIP = Glip(replace(NANO, text=replace(NANO.text, vocab_size=4096)))
MODELS = {
    model.name: model
    for model in (
        Model("glip-t", Glip(GLIP_T), 800, 1248),
        Model("glip-small", _SMALL_GLIP, 256, 384, is_published=False),
        Model("gdino-t", TransformersGroundingDino(TINY), 800, 1333),
        # Its sides are no multiples of anything: this family pads no images.
        Model("gdino-small", TransformersGroundingDino(SMALL), 250, 333, is_published=False),
    )
}
