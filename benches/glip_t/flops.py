"""How much arithmetic one image and one prompt need, counted from the shapes.

The model runs on PyTorch's meta device, where tensors have shapes and no values, and PyTorch's counter adds up two
operations for every multiply-add of every matrix product and convolution that it meets. A deformable convolution is
counted as the matrix product that follows its sampling. Sampling, softmax, normalisation and activations are not
counted: the floor is what no implementation of these products can beat, whatever it does about the rest.
"""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from glip_torch.config import GLIPConfig
from glip_torch.model import GLIP

#: Counted parts, in the order of the data flow. The three in the middle make up `fusion`.
COMPONENTS = ("image_encoder", "text_encoder", "bi_attention", "text_layers", "dyconv", "head")


def count_flops(config: GLIPConfig, height: int, width: int, tokens: int) -> dict[str, int]:
    """Floating-point operations of each component, of `fusion`, and of the `whole`, for a batch of one."""
    with torch.device("meta"):
        model = GLIP(config).eval()
        pixels = torch.empty(1, 3, height, width)
        ids = torch.empty(1, tokens, dtype=torch.int64)
    flops = {}

    def counted(name, module, *inputs):
        with FlopCounterMode(display=False, custom_mapping=DEFORMABLE) as counter:
            outputs = module(*inputs)
        flops[name] = flops.get(name, 0) + counter.get_total_flops()
        return outputs

    with torch.inference_mode():
        levels = counted("image_encoder", model.image_encoder, pixels)
        # Without a mask: looking whether it hides anything takes a tensor with values.
        text = counted("text_encoder", lambda ids: model.text_encoder.bert(input_ids=ids).last_hidden_state, ids)
        for layer in model.tower.layers:
            levels, text = counted("bi_attention", layer.fusion, levels, text, ids)
            if layer.text_layer is not None:
                text = counted("text_layers", layer.text_layer, text, ids)
            levels = counted("dyconv", layer.dyconv, levels)
        counted("head", model.head, levels, text)
    flops["fusion"] = flops["bi_attention"] + flops.get("text_layers", 0) + flops["dyconv"]
    flops["whole"] = flops["image_encoder"] + flops["text_encoder"] + flops["fusion"] + flops["head"]
    return flops


def parameters(config: GLIPConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in GLIP(config).parameters())


def _deformable(x_shape, weight_shape, *_args, out_shape, **_kwargs) -> int:
    batch, _, height, width = out_shape
    return 2 * batch * height * width * torch.Size(weight_shape).numel()


DEFORMABLE = {torch.ops.torchvision.deform_conv2d: _deformable}
