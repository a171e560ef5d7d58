"""How much arithmetic one image and one prompt need, counted from the shapes.

Modules run on PyTorch's meta device, where tensors have shapes and no values, and PyTorch's counter adds up two operations
for every multiply-add of every matrix product and convolution that it meets. A deformable convolution is counted as the
matrix product that follows its sampling. Sampling, softmax, normalisation and activations are not counted: the floor is
what no implementation of these products can beat, whatever it does about the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


class FlopCount:
    """Floating-point operations by component."""

    def __init__(self):
        self.flops: dict[str, int] = defaultdict(int)

    def run(self, component: str, module: Callable, *inputs):
        """Counts what the module does, and gives what it gives."""
        with torch.inference_mode(), FlopCounterMode(display=False, custom_mapping=DEFORMABLE) as counter:
            outputs = module(*inputs)
        self.flops[component] += counter.get_total_flops()
        return outputs

    def product(self, component: str, *sides: int) -> None:
        """Of a matrix product that no module is: rows, columns and what is summed over."""
        self.flops[component] += 2 * torch.Size(sides).numel()

    def linear(self, component: str, rows: int, *modules: nn.Module) -> None:
        """Of linear layers, and of those within modules, that each see as many rows."""
        for module in modules:
            for layer in module.modules():
                if isinstance(layer, nn.Linear):
                    self.product(component, rows, *layer.weight.shape)


def _deformable(x_shape, weight_shape, *_args, out_shape, **_kwargs) -> int:
    batch, _, height, width = out_shape
    return 2 * batch * height * width * torch.Size(weight_shape).numel()


DEFORMABLE = {torch.ops.torchvision.deform_conv2d: _deformable}
