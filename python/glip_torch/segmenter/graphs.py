"""Models as pairs of graphs, and what a manifest has to say of each family's."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field

import onnx
import torch
from torch import Tensor, nn

from . import hugging_face, sam

OPSET = 17
#: What of the decoder's inputs changes from call to call.
_FREE = {"point_coords": {0: "prompts", 1: "points"}, "point_labels": {0: "prompts", 1: "points"}}


@dataclass(frozen=True)
class Part:
    """A graph, in PyTorch."""

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]

    def to_onnx(self) -> onnx.ModelProto:
        content = io.BytesIO()
        with torch.no_grad(), warnings.catch_warnings():
            # Sizes that tracing takes for constants, which those of one model are.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                self.module.eval(),
                tuple(self.inputs.values()),
                content,
                opset_version=OPSET,
                input_names=list(self.inputs),
                output_names=list(self.outputs),
                dynamic_axes={name: axes for name, axes in _FREE.items() if name in self.inputs},
                dynamo=False,
            )
        return onnx.load_from_string(content.getvalue())


@dataclass(frozen=True)
class Exported:
    """A model's two graphs, and its manifest's entries `family`, `image` and `decoder.choose`."""

    encoder: Part
    decoder: Part
    family: str
    image: dict
    choose: str
    #: Names among the decoder's inputs of what the encoder gives, which are its outputs' own here.
    features: tuple[str, ...] = field(default=())


def export_model(model: nn.Module) -> Exported:
    """`SamModel` and `Sam2Model` of transformers, or what has the modules of official's `Sam`.

    Raises `TypeError` for anything else.
    """
    kind = type(model).__name__
    if kind == "SamModel":
        side = model.config.vision_config.image_size
        return _sam(hugging_face.SamEncoder(model), hugging_face.SamDecoder(model), side)
    if kind == "Sam2Model":
        return _sam2(model)
    if all(hasattr(model, part) for part in ("image_encoder", "prompt_encoder", "mask_decoder")):
        return _sam(sam.OfficialEncoder(model), sam.OfficialDecoder(model), model.image_encoder.img_size)
    raise TypeError(
        f"no exporter for {kind}: give a SamModel, a Sam2Model, or a model of segment-anything's or MobileSAM's code"
    )


def prompts(side: int) -> dict[str, Tensor]:
    """Two boxes in an image of so many pixels, one of them with a point more."""
    corners = torch.tensor([[[0.1, 0.2], [0.6, 0.7], [0.3, 0.3]], [[0.4, 0.1], [0.9, 0.8], [0.0, 0.0]]])
    return {"point_coords": corners * side, "point_labels": torch.tensor([[2.0, 3, 1], [2, 3, -1]])}


def _sam(encoder: nn.Module, decoder: nn.Module, side: int) -> Exported:
    image = {
        "resize": {"kind": "longest_side", "side": side},
        "channel_order": "rgb",
        "mean": sam.IMAGE_MEAN,
        "std": sam.IMAGE_STD,
        "padding": {"square": side},
    }
    return _pair(
        encoder, decoder, side, "sam", image, "first", ("image_embeddings",), ("low_res_masks", "iou_predictions")
    )


def _sam2(model: nn.Module) -> Exported:
    side = model.config.prompt_encoder_config.image_size
    image = {
        "resize": {"kind": "square", "side": side},
        "channel_order": "rgb",
        "mean": sam.IMAGE_MEAN,
        "std": sam.IMAGE_STD,
        "padding": {"multiple_of": 1},
    }
    features = ("image_embed", "high_res_feats_0", "high_res_feats_1")
    choose = "stability" if model.mask_decoder.dynamic_multimask_via_stability else "first"
    encoder, decoder = hugging_face.Sam2Encoder(model), hugging_face.Sam2Decoder(model)
    return _pair(encoder, decoder, side, "sam2", image, choose, features, ("masks", "iou_predictions"))


def _pair(
    encoder: nn.Module,
    decoder: nn.Module,
    side: int,
    family: str,
    image: dict,
    choose: str,
    features: tuple[str, ...],
    outputs: tuple[str, ...],
) -> Exported:
    pixels = torch.linspace(-2, 2, 3 * side * side).reshape(1, 3, side, side)
    with torch.no_grad():
        found = encoder.eval()(pixels)
    found = (found,) if isinstance(found, Tensor) else found
    return Exported(
        encoder=Part(encoder, {"pixels": pixels}, features),
        decoder=Part(decoder, dict(zip(features, found, strict=True)) | prompts(side), outputs),
        family=family,
        image=image,
        choose=choose,
        features=features,
    )
