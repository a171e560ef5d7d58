"""Small random segmenters of each kind, made by the libraries themselves."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from transformers import Sam2Config, Sam2Model, SamConfig, SamModel

SIDE = 128
CHANNELS = 32


def official_sam(seed: int = 0) -> nn.Module:
    """Of segment-anything's code, which has to be installed."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(seed)
    cells = SIDE // 16
    model = Sam(
        image_encoder=ImageEncoderViT(
            img_size=SIDE,
            embed_dim=32,
            depth=2,
            num_heads=2,
            mlp_ratio=2,
            out_chans=CHANNELS,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=5,
            global_attn_indexes=(1,),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=CHANNELS, image_embedding_size=(cells, cells), input_image_size=(SIDE, SIDE), mask_in_chans=16
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=CHANNELS, mlp_dim=64, num_heads=4),
            transformer_dim=CHANNELS,
            iou_head_depth=3,
            iou_head_hidden_dim=32,
        ),
    )
    return _every_path(model)


def sam(seed: int = 0) -> SamModel:
    torch.manual_seed(seed)
    vision = {
        "hidden_size": 32,
        "output_channels": CHANNELS,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": 16,
        "window_size": 5,
        "global_attn_indexes": [1],
        "mlp_dim": 64,
        "num_pos_feats": CHANNELS // 2,
    }
    return _every_path(SamModel(SamConfig(vision_config=vision, **_decoder())))


def sam2(seed: int = 0) -> Sam2Model:
    torch.manual_seed(seed)
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "image_size": [SIDE, SIDE],
        "num_attention_heads": 1,
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [8, 4, 4, 4],
        "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [4, 4],
    }
    vision = {
        "backbone_config": backbone,
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        "fpn_hidden_size": CHANNELS,
    }
    return _every_path(Sam2Model(Sam2Config(vision_config=vision, **_decoder())))


def _decoder() -> dict:
    return {
        "prompt_encoder_config": {
            "hidden_size": CHANNELS,
            "image_size": SIDE,
            "patch_size": 16,
            "mask_input_channels": 16,
        },
        "mask_decoder_config": {
            "hidden_size": CHANNELS,
            "mlp_dim": 64,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": 32,
        },
    }


def _every_path(model: nn.Module) -> nn.Module:
    """Weights so that everything counts: those that are drawn small, or begin at 0, hide what is left out."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and parameter.numel() > 1 and parameter.std() < 0.05:
                parameter.normal_(std=0.2)
    return model.eval()
