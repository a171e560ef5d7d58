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
for index, token in zip((0, 100, 101, 102, 103, 1012, 1029), (*SPECIAL_TOKENS, ".", "?")):
    VOCABULARY[index] = token
PROMPT = [101, 5, 6, 1012, 7, 1012, 102]


def grounding_dino(**options):
    """Four levels, as the tiny and base models have."""
    return _built(GroundingDinoForObjectDetection, GroundingDinoConfig, ("stage2", "stage3", "stage4"), options)


def mm_grounding_dino(**options):
    """Five levels, as the large models have; heads of its own for each layer."""
    options = {"decoder_bbox_embed_share": False, "decoder_cls_embed_share": False, **options}
    stages = ("stage1", "stage2", "stage3", "stage4")
    return _built(MMGroundingDinoForObjectDetection, MMGroundingDinoConfig, stages, options)


def _built(module, config, stages, options):
    torch.manual_seed(0)
    swin = {"embed_dim": 8, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 2, 4], "window_size": 7, "image_size": 64}
    bert = {"vocab_size": 1030, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1}
    bert |= {"intermediate_size": 64, "max_position_embeddings": 64, "model_type": "bert"}
    sizes = {
        "backbone_config": {"model_type": "swin", "out_features": list(stages), **swin},
        "text_config": bert,
        "d_model": 32,
        "num_feature_levels": len(stages) + 1,
        "num_queries": 10,
        **{f"{part}_layers": 2 for part in ("encoder", "decoder")},
        **{f"{part}_ffn_dim": 32 for part in ("encoder", "decoder")},
        **{f"{part}_attention_heads": 2 for part in ("encoder", "decoder")},
    }
    model = module(config(**(sizes | options))).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # so that none is alike, nor without effect
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


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
