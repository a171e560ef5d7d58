"""Small random segmenters in the forms that others publish: ONNX files with their names, types and habits."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from tiny_segmenters import SIDE
from torch import Tensor, nn

from glip_torch.segmenter.sam import IMAGE_MEAN, IMAGE_STD


class PixelEncoder(nn.Module):
    """As samexporter's: `[height, width, 3]` of the resized image, which is normalised and padded inside."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.image_encoder = model.image_encoder
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGE_STD).reshape(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        pixels = (image.permute(2, 0, 1)[None] - self.mean) / self.std
        below, right = SIDE - image.shape[0], SIDE - image.shape[1]
        return self.image_encoder(nn.functional.pad(pixels, (0, right, 0, below)))


class HubEncoder(nn.Module):
    """As the hub's of SAM 2: three maps, finest first."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model.get_image_embeddings(pixel_values))


class HubDecoder(nn.Module):
    """As the hub's of SAM 2: points and boxes apart, three masks."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(
        self, finest: Tensor, fine: Tensor, coarse: Tensor, points: Tensor, labels: Tensor, boxes: Tensor
    ) -> tuple[Tensor, ...]:
        output = self.model(
            image_embeddings=[finest, fine, coarse],
            input_points=points,
            input_labels=labels,
            input_boxes=boxes,
            multimask_output=True,
        )
        return output.iou_scores, output.pred_masks, output.object_score_logits


class EfficientEncoder(nn.Module):
    """As EfficientSAM's: pixels from 0 to 1 of an image of any size, which is resized and normalised inside."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.image_encoder = model.image_encoder
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).reshape(1, 3, 1, 1) / 255)
        self.register_buffer("std", torch.tensor(IMAGE_STD).reshape(1, 3, 1, 1) / 255)

    def forward(self, images: Tensor) -> Tensor:
        resized = nn.functional.interpolate(images, (SIDE, SIDE), mode="bilinear", align_corners=False)
        return self.image_encoder((resized - self.mean) / self.std)


class EfficientDecoder(nn.Module):
    """As EfficientSAM's: six points, of which those that are not there are padding; points in pixels of the size that masks
    are resized to; three masks, then those before they are resized."""

    POINTS = 6

    def __init__(self, model: nn.Module):
        super().__init__()
        from segment_anything.utils.onnx import SamOnnxModel

        self.model = model
        self.sam = SamOnnxModel(model, return_single_mask=False)

    def forward(self, features: Tensor, points: Tensor, labels: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        points = points[0] * SIDE / size.flip(0)
        missing = self.POINTS - points.shape[1]
        points = nn.functional.pad(points, (0, 0, 0, missing), value=-1.0)
        labels = nn.functional.pad(labels[0], (0, missing), value=-1.0)
        prompts = self.sam._embed_points(points, labels)
        no_mask = self.model.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(1, -1, *features.shape[2:])
        masks, scores = self.model.mask_decoder.predict_masks(
            features, self.model.prompt_encoder.get_dense_pe(), prompts, no_mask
        )
        masks, scores = masks[:, 1:], scores[:, 1:]
        large = nn.functional.interpolate(masks, (size[0], size[1]), mode="bilinear", align_corners=False)
        return large[None], scores[None], masks


def official(model: nn.Module, folder: Path) -> None:
    """What segment-anything 1.0 exports: one prompt a run, and large masks with the crop of one picture built in."""
    from segment_anything.utils.onnx import SamOnnxModel

    _write(PixelEncoder(model), {"input_image": torch.rand(SIDE, 80, 3)}, ["image_embeddings"], folder / "encoder.onnx")
    inputs = {
        "image_embeddings": torch.randn(1, 32, SIDE // 16, SIDE // 16),
        "point_coords": torch.rand(1, 3, 2) * SIDE,
        "point_labels": torch.tensor([[2.0, 3, -1]]),
        "mask_input": torch.zeros(1, 1, SIDE // 4, SIDE // 4),
        "has_mask_input": torch.zeros(1),
        "orig_im_size": torch.tensor([150.0, 225.0]),
    }
    outputs = ["masks", "iou_predictions", "low_res_masks"]
    _write(SamOnnxModel(model, return_single_mask=False), inputs, outputs, folder / "decoder.onnx")


def hub_sam2(model: nn.Module, folder: Path) -> None:
    pixels = torch.randn(1, 3, SIDE, SIDE)
    names = [f"image_embeddings.{level}" for level in range(3)]
    _write(HubEncoder(model), {"pixel_values": pixels}, names, folder / "vision_encoder.onnx")
    with torch.no_grad():
        features = model.get_image_embeddings(pixels)
    inputs = dict(zip(names, features, strict=True)) | {
        "input_points": torch.zeros(1, 2, 0, 2),
        "input_labels": torch.zeros(1, 2, 0, dtype=torch.int64),
        "input_boxes": torch.rand(1, 2, 4) * SIDE,
    }
    outputs = ["iou_scores", "pred_masks", "object_score_logits"]
    _write(HubDecoder(model), inputs, outputs, folder / "prompt_encoder_mask_decoder.onnx")


def efficient_sam(model: nn.Module, folder: Path) -> None:
    """What EfficientSAM's project exports: one prompt a run, and a third output that has no name of its own."""
    images = {"batched_images": torch.rand(1, 3, 108, 192)}
    _write(EfficientEncoder(model), images, ["image_embeddings"], folder / "encoder.onnx")
    inputs = {
        "image_embeddings": torch.randn(1, 32, SIDE // 16, SIDE // 16),
        "batched_point_coords": torch.rand(1, 1, 5, 2) * 100,
        "batched_point_labels": torch.tensor([[[1.0, 0, 1, 2, 3]]]),
        "orig_im_size": torch.tensor([108, 192]),
    }
    _write(EfficientDecoder(model), inputs, ["output_masks", "iou_predictions"], folder / "decoder.onnx")


_FREE = {
    "input_image": {0: "height", 1: "width"},
    "point_coords": {1: "points"},
    "point_labels": {1: "points"},
    "input_points": {1: "prompts", 2: "points"},
    "input_labels": {1: "prompts", 2: "points"},
    "input_boxes": {1: "boxes"},
    "batched_images": {0: "batch", 2: "height", 3: "width"},
    "batched_point_coords": {2: "points"},
    "batched_point_labels": {2: "points"},
}


def _write(module: nn.Module, inputs: dict[str, Tensor], outputs: list[str], path: Path) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            path,
            opset_version=17,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes={name: axes for name, axes in _FREE.items() if name in inputs},
            dynamo=False,
        )
