"""Which family's models are exported by which module: a family is one module here, with one entry."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from transformers import GroundingDinoForObjectDetection, MMGroundingDinoForObjectDetection

from ..model import GLIP
from .glip import export_glip
from .graphs import Export
from .grounding_dino import export_grounding_dino

EXPORTERS: dict[type[nn.Module], Callable[..., Export]] = {
    GLIP: export_glip,
    GroundingDinoForObjectDetection: export_grounding_dino,
    MMGroundingDinoForObjectDetection: export_grounding_dino,
}


def export_model(model: nn.Module) -> Export:
    """Raises `TypeError` for a model that nothing here exports."""
    if type(model) not in EXPORTERS:
        known = ", ".join(kind.__name__ for kind in EXPORTERS)
        raise TypeError(f"no exporter for {type(model).__name__} (there are those of {known}): add it to EXPORTERS")
    return EXPORTERS[type(model)](model)
