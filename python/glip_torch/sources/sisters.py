"""Names for checkpoints of other architectures, so that an error can say what somebody gave instead of a model for words."""

from __future__ import annotations

import re
from collections.abc import Iterable

KNOWN = "GLIP, Grounding DINO, MM-Grounding-DINO or LLMDet"

#: By the `model_type` of a Hugging Face config.json.
_MODEL_TYPES = {
    "bert": "BERT, a text encoder",
    "clip": "CLIP",
    "conditional_detr": "Conditional DETR",
    "d_fine": "D-FINE",
    "dab-detr": "DAB-DETR",
    "deformable_detr": "Deformable DETR",
    "detr": "DETR",
    "dinov2": "DINOv2, an image encoder",
    "dinov3_vit": "DINOv3, an image encoder",
    "florence2": "Florence-2",
    "omdet-turbo": "OmDet-Turbo",
    "owlv2": "OWLv2",
    "owlvit": "OWL-ViT",
    "rt_detr": "RT-DETR",
    "rt_detr_v2": "RT-DETRv2",
    "sam": "Segment Anything",
    "sam2": "SAM 2",
    "sam3": "SAM 3",
    "swin": "Swin, an image encoder",
    "yolos": "YOLOS",
}

#: By a tensor's name, without wrappers; the first that fits counts.
_TENSORS = [
    (r"owlvit\.", "OWL-ViT"),
    (r"owlv2\.", "OWLv2"),
    (r"backbone\.image_model\.", "YOLO-World"),
    (r"bbox_head\.head\.dyhead_tower\.", "mmdetection's GLIP (its official file is read)"),
    (r"bbox_head\.cls_branches\.\d+\.weight$", "a closed-set DETR of mmdetection (DINO, Deformable DETR)"),
    (r"transformer\.text_encoder\.", "MDETR"),
    (r"label_enc\.weight$", "DINO, a closed-set detector"),
    (r"transformer\.encoder\.layers\.0\.self_attn\.sampling_offsets\.", "Deformable DETR, a closed-set detector"),
    (r"class_embed\.weight$", "DETR, a closed-set detector"),
    (r"(roi_heads|proposal_generator)\.", "Faster R-CNN or Mask R-CNN"),
    (r"backbone\.backbone\.dark\d\.", "YOLOX (`python -m glip_torch.from_yolox` reads it)"),
    (r"(sam_)?mask_decoder\.", "Segment Anything"),
    (r"(visual\.transformer\.resblocks|text_model\.encoder)\.", "CLIP"),
    (
        r"(backbone\.)?cls_token$",
        "a vision transformer alone (such as DINO or DINOv2, which share no more than a name)",
    ),
    (r"(bert\.)?encoder\.layer\.0\.attention\.", "BERT, a text encoder alone"),
    (r"(backbone\.)?(patch_embed|embeddings\.patch_embeddings)\.", "an image encoder alone"),
]


def of_model_type(model_type: str) -> str:
    """What to call an architecture of transformers."""
    return _MODEL_TYPES.get(model_type, repr(model_type))


def of_tensors(names: Iterable[str]) -> str | None:
    """What to call the architecture that has tensors of these names, if it is a known one."""
    names = list(names)
    return next((title for pattern, title in _TENSORS if any(re.match(pattern, name) for name in names)), None)
