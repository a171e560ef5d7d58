"""Which module is written by what: the kinds of image encoders and of convolutions that models choose from."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from ..csp_darknet import CSPDarknetEncoder
from ..decoupled import DecoupledConv
from ..dyconv import DyConv
from ..image_encoder import ImageEncoder
from .csp_darknet import write_csp_darknet_encoder
from .decoupled import write_decoupled
from .dyconv import write_dyconv
from .image_encoder import write_image_encoder
from .pyramid import Pyramid
from .writer import GraphWriter

#: Each takes the module and what its `forward` takes, as values. An image encoder gives the levels of a pyramid; a
#: convolution takes and gives a `Pyramid`.
WRITERS: dict[type[nn.Module], Callable] = {
    ImageEncoder: write_image_encoder,
    CSPDarknetEncoder: write_csp_darknet_encoder,
    DyConv: write_dyconv,
    DecoupledConv: write_decoupled,
}


def write_module(w: GraphWriter, module: nn.Module, *inputs) -> list[str] | Pyramid:
    """Raises `TypeError` for a module that nothing here writes."""
    if type(module) not in WRITERS:
        known = ", ".join(kind.__name__ for kind in WRITERS)
        raise TypeError(f"no writer for {type(module).__name__} (there are those of {known}): add it to WRITERS")
    return WRITERS[type(module)](w, module, *inputs)
