"""Small random segmenters as folders, and the masks that the libraries' own code makes of boxes and points.

    python python/tests/segmenter_cases.py tests/fixtures/golden/segmenter

`sam` needs segment-anything (pip install segment-anything); RLE is pycocotools'.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from published_segmenters import EfficientDecoder, EfficientEncoder, efficient_sam, hub_sam2, official
from pycocotools import mask as coco
from tiny_segmenters import SIDE, official_sam, sam2
from torch.nn.functional import interpolate

from glip_torch.segmenter.bundle import SegmenterOptions, export_segmenter
from glip_torch.segmenter.importer import import_segmenter

#: Width and height: landscape, portrait, tiny, and twelve megapixels.
SIZES = {"landscape": (320, 200), "portrait": (150, 260), "tiny": (9, 7), "large": (4000, 3000)}
#: Shares of the image: x1, y1, x2, y2.
BOXES = [[0.05, 0.1, 0.55, 0.8], [0.3, 0.25, 0.95, 0.6], [0.0, 0.0, 1.0, 1.0]]
POINT = [0.4, 0.6]


def picture(width: int, height: int) -> np.ndarray:
    """`[height, width, 3]`: smooth, with edges, and the same in any language."""
    y, x = np.mgrid[:height, :width].astype(np.int64)
    red, green = x * 255 // width, y * 255 // height
    blue = (x * 8 // width + y * 6 // height) % 2 * 200 + 20
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def official_masks(model, image: np.ndarray, boxes: np.ndarray, point: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """`SamPredictor`, end to end: logits for each box, and for the point the best of three."""
    from segment_anything import SamPredictor

    predictor = SamPredictor(model)
    predictor.set_image(image)
    found = []
    for box in boxes:
        masks, scores, _ = predictor.predict(box=box, multimask_output=False, return_logits=True)
        found.append((masks[0], float(scores[0])))
    masks, scores, _ = predictor.predict(
        point_coords=point[None], point_labels=np.ones(1), multimask_output=True, return_logits=True
    )
    best = int(scores.argmax())
    return [*found, (masks[best], float(scores[best]))]


def sam2_masks(
    model, image: np.ndarray, boxes: np.ndarray, point: np.ndarray, several: bool = False
) -> list[tuple[np.ndarray, float]]:
    """`Sam2Model` end to end, but for the resize: its own is torchvision's, SAM 2's project's is Pillow's."""
    from PIL import Image

    height, width = image.shape[:2]
    resized = np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    pixels = torch.tensor((resized - mean) / std, dtype=torch.float32).permute(2, 0, 1)[None]
    scale = np.array([SIDE / width, SIDE / height])
    found = []
    prompts = [
        ({"input_boxes": torch.tensor((box.reshape(2, 2) * scale).reshape(1, 1, 4)).float()}, False) for box in boxes
    ]
    points = torch.tensor((point * scale).reshape(1, 1, 1, 2)).float()
    prompts.append(({"input_points": points, "input_labels": torch.ones(1, 1, 1, dtype=torch.int64)}, True))
    for prompt, of_several in prompts:
        with torch.no_grad():
            output = model(pixel_values=pixels, multimask_output=of_several, **prompt)
        scores = output.iou_scores[0, 0]
        best = int(scores.argmax())
        logits = interpolate(output.pred_masks[0, :, best, None], (height, width), mode="bilinear", align_corners=False)
        found.append((logits[0, 0].numpy(), float(scores[best])))
    return found


def sam2_best_masks(model, image: np.ndarray, boxes: np.ndarray, point: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """As the hub's decoders give them: three for a box, of which the best counts. They are asked for boxes alone."""
    return sam2_masks(model, image, boxes, point, several=True)[:-1]


def efficient_masks(model, image: np.ndarray, boxes: np.ndarray, point: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """As EfficientSAM's own example: the image as it is, masks of its size, of three the best."""
    encoder, decoder = EfficientEncoder(model), EfficientDecoder(model)
    prompts = [(box.reshape(2, 2), [2.0, 3.0]) for box in boxes] + [(point[None], [1.0])]
    found = []
    with torch.no_grad():
        features = encoder(torch.tensor(image).permute(2, 0, 1)[None].float() / 255)
        for points, labels in prompts:
            coords = torch.tensor(points).float()[None, None]
            logits, scores, _ = decoder(features, coords, torch.tensor([[labels]]), torch.tensor(image.shape[:2]))
            best = int(scores[0, 0].argmax())
            found.append((logits[0, 0, best].numpy(), float(scores[0, 0, best])))
    return found


#: Exported here.
KINDS = {"sam": (official_sam, official_masks), "sam2": (sam2, sam2_masks)}


def case_mask(logits: np.ndarray, score: float) -> dict:
    """COCO's run lengths of what is above 0, and some of the logits."""
    height, width = logits.shape
    middles = np.arange(1, 10, 2)
    return {
        "size": [height, width],
        "counts": coco.encode(np.asfortranarray((logits > 0).astype(np.uint8)))["counts"].decode(),
        "score": min(max(score, 0.0), 1.0),
        "logits": logits[np.ix_(middles * height // 10, middles * width // 10)].round(5).tolist(),
    }


def cases(model, masks_of) -> list[dict]:
    made = []
    for name, (width, height) in SIZES.items():
        size = np.array([width, height] * 2)
        boxes = np.array(BOXES) * size
        point = np.array(POINT) * size[:2]
        found = masks_of(model, picture(width, height), boxes, point)
        if name == "large":  # one mask of it is megabytes of work for a test
            boxes, found = boxes[1:2], found[1:2]
        made.append(
            {
                "name": name,
                "size": [width, height],
                "boxes": boxes.tolist(),
                "points": [] if name == "large" else [point.tolist()],
                "masks": [case_mask(logits, score) for logits, score in found],
            }
        )
    return made


def write(folder: Path) -> None:
    for kind, (make, masks_of) in KINDS.items():
        model = make()
        options = SegmenterOptions(name=f"tiny-{kind}", weights="random", licence="none")
        print(kind, export_segmenter(model, folder / kind, options, overwrite=True))
        write_cases(folder / f"{kind}.json", cases(model, masks_of))
    with tempfile.TemporaryDirectory() as files:
        pair = Path(files)
        options = SegmenterOptions(weights="random", licence="none")
        # Its masks are those of `sam`.
        official(official_sam(), pair)
        found = import_segmenter(
            pair / "encoder.onnx", pair / "decoder.onnx", "sam", folder / "sam-official", options, True
        )
        print(*found, sep="\n")
        hub_sam2(sam2(), pair)
        encoder, decoder = pair / "vision_encoder.onnx", pair / "prompt_encoder_mask_decoder.onnx"
        print(*import_segmenter(encoder, decoder, "sam2-hf", folder / "sam2-hf", options, True), sep="\n")
        efficient_sam(official_sam(), pair)
        encoder, decoder = pair / "encoder.onnx", pair / "decoder.onnx"
        print(*import_segmenter(encoder, decoder, "efficient-sam", folder / "efficient-sam", options, True), sep="\n")
    write_cases(folder / "efficient-sam.json", cases(official_sam(), efficient_masks))
    best = [case for case in cases(sam2(), sam2_best_masks) if case["name"] != "large"]
    write_cases(folder / "sam2-hf.json", [case | {"points": []} for case in best])


def write_cases(path: Path, cases: list[dict]) -> None:
    path.write_text(json.dumps(cases, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
