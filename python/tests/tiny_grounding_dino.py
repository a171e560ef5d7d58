"""Grounding DINOs of random weights, small enough to be built and run in a moment."""

import torch
from transformers import (
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
)

from glip_torch.tokenizer import SPECIAL_TOKENS

#: The tokens that part phrases have the ids of bert-base-uncased, as transformers' modules have them built in.
VOCABULARY = [f"w{index}" for index in range(1030)]
for index, token in zip((0, 100, 101, 102, 103, 1010, 1012, 1029), (*SPECIAL_TOKENS, ",", ".", "?")):
    VOCABULARY[index] = token
VOCABULARY += "a the two of on in red white blood cell cells plate ##let ##s person raccoon cat dog".split()
PROMPT = [101, 5, 6, 1012, 7, 1012, 102]


def grounding_dino(levels=4, seed=0, **options):
    """Four levels, as the tiny and base models have."""
    return _built(GroundingDinoForObjectDetection, GroundingDinoConfig, levels, seed, options)


def mm_grounding_dino(levels=5, seed=0, **options):
    """Five levels, as the large models have; heads of its own for each layer."""
    options = {"decoder_bbox_embed_share": False, "decoder_cls_embed_share": False, **options}
    return _built(MMGroundingDinoForObjectDetection, MMGroundingDinoConfig, levels, seed, options)


def _built(module, config, levels, seed, options):
    torch.manual_seed(seed)
    stages = ["stage1", "stage2", "stage3", "stage4"][5 - levels :]
    swin = {"embed_dim": 8, "depths": [1, 1, 2, 1], "num_heads": [1, 1, 2, 2], "window_size": 7, "image_size": 64}
    bert = {"vocab_size": len(VOCABULARY), "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
    bert |= {"intermediate_size": 48, "max_position_embeddings": 256, "model_type": "bert"}
    sizes = {
        "backbone_config": {"model_type": "swin", "out_features": stages, **swin, **options.pop("swin", {})},
        "text_config": bert | options.pop("bert", {}),
        "d_model": 32,
        "num_feature_levels": levels,
        "num_queries": 24,
        "encoder_ffn_dim": 96,
        "decoder_ffn_dim": 48,
        **{f"{part}_layers": 2 for part in ("encoder", "decoder")},
        **{f"{part}_attention_heads": 4 for part in ("encoder", "decoder")},
    }
    model = module(config(**(sizes | options))).eval()
    draw(model)
    return model


@torch.no_grad()
def draw(model):
    """Weights by which every path counts: transformers' own begin with zeros in many places."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape)
        if name.endswith(("vision_param", "text_param")):
            parameter.copy_(0.2 + 0.3 * torch.rand(parameter.shape))
        elif parameter.ndim < 2:
            parameter.add_(0.1 * noise)
        elif "embed" in name and "bbox" not in name and "patch" not in name:
            parameter.copy_(0.5 * noise)
        else:
            parameter.add_(0.5 * noise / parameter[0].numel() ** 0.5)


@torch.no_grad()
def outputs(model, pixels=None, ids=PROMPT):
    """Logits and boxes of the queries, for these tokens."""
    pixels = torch.randn(1, 3, 70, 90, generator=torch.Generator().manual_seed(1)) if pixels is None else pixels
    ids = torch.tensor([ids])
    found = model(
        pixel_values=pixels,
        pixel_mask=torch.ones(1, *pixels.shape[-2:], dtype=torch.long),
        input_ids=ids,
        token_type_ids=torch.zeros_like(ids),
        attention_mask=torch.ones_like(ids),
    )
    return found.logits[0, :, : ids.shape[1]], found.pred_boxes[0]
