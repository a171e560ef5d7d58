"""YOLOX's weights as those of a GLIP: a detector of 80 classes becomes one that is asked for words.

YOLOX's ONNX files hold their convolutions in the order in which they are used, batch norms folded. Backbone, neck and stems
become the image encoder, the decoupled head the tower. What the head says about boxes is the same as GLIP's, put otherwise:

- YOLOX's box at a cell has its centre at (offset + cell) * stride and its sides exp(scale) * stride; GLIP's box coder counts
  from an anchor in the cell's middle, in tenths of the anchor's side, and in fifths of its logarithm. The one is an affine
  function of the other, so the last layer's weights are converted exactly.
- Objectness takes centerness' place. YOLOX multiplies it with the class' score, GLIP takes the root of that: the same order.
- Every level of YOLOX has class weights of its own, where GLIP compares all levels with the same words. The levels are
  rotated (`DecoupledOutput`) so that one code of `CODE` numbers for a class serves all of them: the best of its rank for
  weights and biases together, and exact, as 80 classes have no more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from .config import STRIDES
from .model import GLIP
from .postprocess import CENTRE_WEIGHT, SCALE_WEIGHT
from .preprocess import PIXEL_STD

#: Numbers that tell a class.
CODE = 80
#: Where the tower's output has the box and its objectness, behind the code.
BOX = slice(CODE, CODE + 5)
LEVELS = 3


@dataclass
class ClassCodes:
    """The classes as the tower's output speaks of them: a location's logit for a class is its first `CODE` features times this."""

    weights: Tensor  #: `[classes, CODE]`


class YoloxError(ValueError):
    """The file is not an export of YOLOX that this package knows."""


def load_yolox(path: Path, model: GLIP) -> ClassCodes:
    """Puts YOLOX's weights into the model's image encoder, tower and box layers; gives what its classes are there.

    Raises `YoloxError` if the file is of another architecture.
    """
    try:
        graph = onnx.load(path).graph
    except Exception as error:  # noqa: BLE001 (onnx raises nearly anything for a broken file)
        raise YoloxError(
            f"{path} cannot be read as ONNX ({error}): give yolox_nano.onnx of the YOLOX project"
        ) from None
    parameters = {entry.name: torch.from_numpy(numpy_helper.to_array(entry).copy()) for entry in graph.initializer}
    used = [node.input[1:3] for node in graph.node if node.op_type == "Conv"]
    if any(name not in parameters for names in used for name in names):
        raise YoloxError(
            f"{path} has convolutions without constant weights and biases: give an export with folded batch norms"
        )
    body = [tuple(parameters[name] for name in names) for names in used if not names[0].startswith("head.")]
    targets = _convolutions(model)
    if len(body) != len(targets):
        raise YoloxError(f"{path} has {len(body)} convolutions before its last layers, YOLOX-nano has {len(targets)}")
    with torch.no_grad():
        for index, (target, (weight, bias)) in enumerate(zip(targets, body)):
            if index == 0:
                weight = _stem(weight, path)
            if target.weight.shape != weight.shape:
                raise YoloxError(
                    f"convolution {index} of {path} is {tuple(weight.shape)}, YOLOX-nano's is {tuple(target.weight.shape)}"
                )
            target.weight.copy_(weight)
            target.bias.copy_(bias)
        return _convert_outputs(model, parameters)


def _convolutions(model: GLIP) -> list[nn.Conv2d]:
    """The model's, in the order in which YOLOX uses them."""
    encoder, layers = model.image_encoder, model.tower.layers
    pan = encoder.pan
    neck = [
        pan.reduce_coarse, pan.down_middle, pan.reduce_middle, pan.down_fine, pan.shrink_fine, pan.up_middle,
        pan.shrink_middle, pan.up_coarse,
    ]  # fmt: skip
    parts: list[nn.Module] = [encoder.darknet.stem]
    for stage in encoder.darknet.stages:
        parts += [stage.downsample, *([] if stage.pooling is None else [stage.pooling]), stage.csp]
    parts += neck
    for level in range(LEVELS):
        parts.append(encoder.stems[level])
        parts += [layer.decoupled.classes[level] for layer in layers]
        parts += [layer.decoupled.boxes[level] for layer in layers]
    return [conv for part in parts for conv in part.modules() if isinstance(conv, nn.Conv2d)]


def _stem(weight: Tensor, path: Path) -> Tensor:
    """YOLOX's 3 x 3 convolution of 2 x 2 blocks of pixels as a 6 x 6 convolution of normalised pixels.

    A block's channels are those of its pixels top left, bottom left, top right and bottom right, one after the other.
    """
    outputs, channels, *_ = weight.shape
    if channels != 12:
        raise YoloxError(
            f"the first convolution of {path} reads {channels} channels, YOLOX's reads blocks of 2 x 2 pixels: 12"
        )
    blocks = weight.view(outputs, 2, 2, 3, 3, 3)  # column and row in the block, colour, rows and columns of blocks
    pixels = blocks.permute(0, 3, 4, 2, 5, 1).reshape(outputs, 3, 6, 6)
    return pixels * torch.tensor(PIXEL_STD)[:, None, None]


def _convert_outputs(model: GLIP, parameters: dict[str, Tensor]) -> ClassCodes:
    def last_layer(kind: str, level: int) -> tuple[Tensor, Tensor]:
        name = f"head.{kind}_preds.{level}."
        return parameters[name + "weight"].flatten(1).double(), parameters[name + "bias"].double()

    width = model.config.channels
    classes = [torch.cat([w, b[:, None]], dim=1) for w, b in (last_layer("cls", level) for level in range(LEVELS))]
    codes, of_levels = _common_code(classes)
    for level, output in enumerate(model.tower.output.levels):
        output.weight.zero_()
        output.bias.zero_()
        output.weight[:CODE, :width, 0, 0] = of_levels[level][:, :-1]
        output.bias[:CODE] = of_levels[level][:, -1]
        (offsets, offset_bias), (objectness, objectness_bias) = last_layer("reg", level), last_layer("obj", level)
        weight, bias = _box_deltas(offsets, offset_bias, STRIDES[level], model.config.anchor_sizes[level])
        output.weight[BOX, width:, 0, 0] = torch.cat([weight, objectness]).float()
        output.bias[BOX] = torch.cat([bias, objectness_bias]).float()
    head = model.head
    for conv, rows in ((head.bbox_pred, range(CODE, CODE + 4)), (head.centerness, [CODE + 4])):
        conv.weight.zero_()
        conv.bias.zero_()
        conv.weight[range(len(rows)), list(rows), 0, 0] = 1
    return ClassCodes(codes)


def _common_code(classes: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """`classes`, for every level `[classes, width + 1]`, as one code `[classes, CODE]` times a matrix for every level."""
    left, scale, right = torch.linalg.svd(torch.cat(classes, dim=1), full_matrices=False)
    # The root on both sides, so that neither codes nor features are of an odd size.
    codes, of_all = left * scale.sqrt(), scale.sqrt()[:, None] * right
    return codes[:, :CODE].float(), [part.float() for part in of_all[:CODE].chunk(len(classes), dim=1)]


def _box_deltas(weight: Tensor, bias: Tensor, stride: int, anchor: int) -> tuple[Tensor, Tensor]:
    """YOLOX's offsets and log scales, a linear function of features `[4, width]`, as GLIP's deltas.

    YOLOX's boxes end at edges, GLIP's at their last pixel: the centre is half a pixel further up and left, as is the
    anchor's, which is in the middle of the cell's pixels. So what is left of the centre is the offset from half a cell.
    """
    factors = torch.tensor([CENTRE_WEIGHT * stride / anchor] * 2 + [SCALE_WEIGHT] * 2).double()
    shifts = torch.tensor([-0.5, -0.5, *[math.log(stride / anchor)] * 2]).double()
    return factors[:, None] * weight, factors * (bias + shifts)
