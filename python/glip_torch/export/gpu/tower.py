"""The tower for a GPU: between layers, the image is one list of positions."""

from __future__ import annotations

from ...dyconv import DyConv
from ...fusion import Tower
from ..decoupled import write_decoupled, write_decoupled_output
from ..writer import GraphWriter
from .bert import write_bert_layer, write_square_mask
from .bi_attention import write_bi_attention
from .dyconv import write_dyconv
from .pyramid import Pyramid


def write_tower(
    w: GraphWriter, tower: Tower, levels: list[str], hidden: str | None, mask: str | None
) -> tuple[list[str], str | None]:
    """As the `write_tower` for CPUs; `mask [batch, 1, 1, tokens]` is added to scores."""
    pyramid = Pyramid(w, maps=levels)
    of_tokens = None
    if any(layer.text_layer is not None for layer in tower.layers):
        of_tokens = write_square_mask(w, mask)
    for index, layer in enumerate(tower.layers):
        with w.scope(f"layer_{index + 1}"):
            if layer.fusion is not None:
                with w.scope("bi_attention"):
                    image = w.transpose(pyramid.positions, 0, 2, 1)
                    image, hidden = write_bi_attention(w, layer.fusion, image, hidden, mask)
                    positions, channels = w.transpose(image, 0, 2, 1), layer.fusion.v_proj.in_features
                    pyramid = Pyramid(w, pyramid.sizes, positions=positions, channels=channels)
            if layer.text_layer is not None:
                with w.scope("text_layer"):
                    hidden = write_bert_layer(w, layer.text_layer.bert_layer, hidden, of_tokens)
            if isinstance(layer.convolution, DyConv):
                with w.scope("dyconv"):
                    pyramid = write_dyconv(w, layer.convolution, pyramid)
            else:
                with w.scope("decoupled"):
                    pyramid = write_decoupled(w, layer.convolution, pyramid)
    if tower.output is None:
        return pyramid.maps, hidden
    with w.scope("output"):
        return write_decoupled_output(w, tower.output, pyramid.maps), hidden
