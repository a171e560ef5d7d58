"""The exporter of Grounding DINO, MM-Grounding-DINO and LLMDet.

Four graphs, as of every family, with a map `[batch, width, h, w]` for each level between them: what a picture is to this
model, what a text is, and what they are to each other can then be kept, looked at and used apart. Flattening the levels
inside costs a transpose at each border, 23 MB each at 800 x 1333, which is nothing beside the layers.

Images are not padded, not even in a batch, so no graph takes a mask of pixels: the mask that transformers' modules take is
all ones here, and what they derive from it is a constant.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers.models.grounding_dino.modeling_grounding_dino import SPECIAL_TOKENS

from ...config import SEPARATOR, Recommended, level_sizes
from ...grounding_dino import GroundingDino, check_supported, swin_of, variant
from ...postprocess import PostprocessOptions
from ...preprocess import PIXEL_MEAN, PIXEL_STD
from ..graphs import FEATURES, Export, Graph, InputSize, PartModule, Port, padded_mask
from ..image_encoder import write_swin
from ..text_encoder import write_bert, write_block_mask
from ..writer import GraphWriter
from .decoder import write_decoder
from .enhancer import write_enhancer

#: The stride of the finest backbone stage, by its number.
FIRST_STRIDE = 4
#: Tokens that end a block: words see those of their own block alone. transformers knows them by their ids.
BLOCK_ENDS = dict(zip(("[CLS]", "[SEP]", ".", "?"), SPECIAL_TOKENS))
#: What the publishers run their models with: https://github.com/IDEA-Research/GroundingDINO (box threshold) and
#: mmdetection's demo of MM-Grounding-DINO.
SCORE_THRESHOLDS = {"grounding-dino": 0.35, "mm-grounding-dino": 0.3}


def export_grounding_dino(model: GroundingDino) -> Export:
    check_supported(model)
    config = model.config
    return Export(
        graphs=build_graphs(model),
        family="grounding-dino",
        variant=variant(model),
        image={
            "rounding": "exact",
            "channel_order": "rgb",
            # transformers has them in the order of the channels, on the scale of 0 to 1.
            "mean": PIXEL_MEAN[::-1],
            "std": PIXEL_STD[::-1],
            "padding": {"multiple_of": 1},
            "masks_padding": False,
        },
        entries={
            "prompt": {"separator": SEPARATOR, "closing": ".", "lower_case": True, "block_ends": list(BLOCK_ENDS)},
            "features": {"levels": config.num_feature_levels, "type": FEATURES},
            "head": {"kind": "queries"},
        },
        recommended=Recommended(800, 1333, SCORE_THRESHOLDS[config.model_type]),
        # The best 300 of all pairs of query and phrase, none of which suppresses another: as mmdetection has it.
        postprocess=PostprocessOptions(
            candidate_threshold=0.0, candidates_per_level=300, nms_iou_threshold=1.0, max_detections=300
        ),
        vocabulary=config.text_config.vocab_size,
        positions=min(config.max_text_len, config.text_config.max_position_embeddings),
        hidden_size=config.d_model,
        takes_learned_prompts=False,
        special_tokens=BLOCK_ENDS,
    )


def strides(model: GroundingDino) -> list[int]:
    """Of the levels: those of the backbone's stages, and twice the one before."""
    stages = model.model.backbone.conv_encoder.model.out_features
    found = [FIRST_STRIDE * 2 ** (int(stage.removeprefix("stage")) - 1) for stage in stages]
    while len(found) < model.config.num_feature_levels:
        found.append(2 * found[-1])
    return found


def build_graphs(model: GroundingDino) -> list[Graph]:
    """The graphs of a bundle in the order of the data flow."""
    config, steps = model.config, strides(model)
    width = config.d_model

    def levels(prefix: str) -> list[Port]:
        return [
            Port(f"{prefix}_{level}", ("batch", width, f"height_{level}", f"width_{level}"), FEATURES)
            for level in range(len(steps))
        ]

    def level_values(size: InputSize) -> list[Tensor]:
        return [torch.randn(size.batch, width, h, w) for h, w in level_sizes(size.height, size.width, steps)]

    pixels = Port("pixels", ("batch", 3, "height", "width"), FEATURES)
    ids = Port("input_ids", ("batch", "tokens"), "int64")
    attention_mask = Port("attention_mask", ("batch", "tokens"), "int64")
    position_ids = Port("position_ids", ("batch", "tokens"), "int64")
    block_mask = Port("block_mask", ("batch", "tokens", "tokens"), "bool")

    def words(name: str) -> Port:
        return Port(name, ("batch", "tokens", width))

    head = HeadPart(model)
    # Odd sides. The head gets few cells, so that rounding does not change their order.
    finest, coarsest = steps[0], steps[-1]
    few = (InputSize(1, 4 * finest + 5, 6 * finest + 5, 3), InputSize(2, 7 * finest + 5, 5 * finest - 3, 21))
    many = (InputSize(1, 3 * coarsest - 9, 2 * coarsest + 3, 3), InputSize(2, 2 * coarsest + 5, 4 * coarsest - 3, 21))
    return [
        Graph(
            "image_encoder",
            ImageEncoderPart(model),
            [pixels],
            levels("pyramid"),
            lambda size: (torch.randn(size.batch, 3, size.height, size.width),),
            many,
        ),
        Graph(
            "text_encoder",
            TextEncoderPart(model),
            [ids, position_ids, block_mask],
            [words("hidden")],
            lambda size: (torch.randint(config.text_config.vocab_size, (size.batch, size.tokens)), *_blocks(size)[1:]),
            many,
        ),
        Graph(
            "fusion",
            FusionPart(model),
            [*levels("pyramid"), words("hidden"), attention_mask, position_ids, block_mask],
            [*levels("fused"), words("fused_hidden")],
            lambda size: (*level_values(size), torch.randn(size.batch, size.tokens, width), *_blocks(size)),
            many,
        ),
        Graph(
            "head",
            head,
            [*levels("fused"), words("hidden"), attention_mask],
            [Port("logits", ("batch", "queries", "tokens")), Port("boxes", ("batch", "queries", 4))],
            lambda size: head.example(level_values(size), _blocks(size)[0]),
            few,
        ),
    ]


def _blocks(size: InputSize) -> tuple[Tensor, Tensor, Tensor]:
    """A mask whose last row ends in padding, and positions and masks of blocks of four."""
    mask = padded_mask(size.batch, size.tokens)
    places = torch.arange(size.tokens)
    blocks = (places[:, None] // 4 == places[None] // 4) & (mask[:, None] * mask[:, :, None] > 0)
    return mask, (places % 4).repeat(size.batch, 1), blocks | torch.eye(size.tokens, dtype=torch.bool)


def _flat(levels: tuple[Tensor, ...]) -> tuple[Tensor, list[tuple[int, int]]]:
    """Levels as one `[batch, cells, width]`, and their sizes."""
    return torch.cat([level.flatten(2) for level in levels], 2).transpose(1, 2), [level.shape[2:] for level in levels]


def _geometry(image: Tensor, sizes: list[tuple[int, int]]) -> dict:
    """What transformers' modules want to know of images without padding."""
    shapes = torch.tensor(sizes)
    starts = torch.cat([shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]])
    ratios = image.new_ones(len(image), len(sizes), 2)
    return {
        "spatial_shapes": shapes,
        "spatial_shapes_list": sizes,
        "level_start_index": starts,
        "valid_ratios": ratios,
        "return_dict": True,
    }


class ImageEncoderPart(PartModule):
    """Swin, and every level projected to the width of the model."""

    def __init__(self, model: GroundingDino):
        super().__init__()
        self.backbone = model.model.backbone.conv_encoder.model
        self.projections = model.model.input_proj_vision
        self.swin = swin_of(model)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        stages = self.backbone(pixels).feature_maps
        levels = [projection(stage) for stage, projection in zip(stages, self.projections)]
        source = stages[-1]
        for projection in self.projections[len(stages) :]:
            source = projection(source)
            levels.append(source)
        return tuple(levels)

    def write(self, w: GraphWriter, pixels: str) -> tuple[str, ...]:
        with w.scope("swin"):
            stages = write_swin(w, self.swin, pixels, even=False)
        levels = []
        with w.scope("projections"):
            for stage, (conv, norm) in zip(stages, self.projections):
                levels.append(w.group_norm(stage.projected(w, conv), norm))
            source = stages[-1].as_map(w)
            for conv, norm in self.projections[len(stages) :]:
                source = w.group_norm(w.conv(source, conv), norm)
                levels.append(source)
        return tuple(levels)


class TextEncoderPart(PartModule):
    """BERT, and its states projected to the width of the model."""

    def __init__(self, model: GroundingDino):
        super().__init__()
        self.bert, self.projection = model.model.text_backbone, model.model.text_projection

    def forward(self, input_ids: Tensor, position_ids: Tensor, block_mask: Tensor) -> tuple[Tensor, ...]:
        states = self.bert(input_ids, block_mask[:, None], torch.zeros_like(input_ids), position_ids)
        return (self.projection(states.last_hidden_state),)

    def write(self, w: GraphWriter, input_ids: str, position_ids: str, block_mask: str) -> tuple[str, ...]:
        hidden = write_bert(w, self.bert, input_ids, write_block_mask(w, block_mask), position_ids)
        return (w.linear(hidden, self.projection.weight, self.projection.bias),)


class FusionPart(PartModule):
    """The feature enhancer."""

    def __init__(self, model: GroundingDino):
        super().__init__()
        self.model = model.model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        *levels, hidden, attention_mask, position_ids, block_mask = inputs
        image, sizes = _flat(levels)
        positions = []
        for level, embedding in zip(levels, self.model.level_embed):
            mask = torch.ones(len(level), *level.shape[2:], dtype=torch.bool)
            position = self.model.backbone.position_embedding(level, mask)
            positions.append(position.flatten(2).transpose(1, 2) + embedding)
        enhanced = self.model.encoder(
            vision_features=image,
            vision_attention_mask=torch.zeros(image.shape[:2], dtype=torch.bool),
            vision_position_embedding=torch.cat(positions, 1),
            text_features=hidden,
            text_attention_mask=attention_mask == 0,
            text_self_attention_masks=~block_mask,
            text_position_ids=position_ids,
            **_geometry(image, sizes),
        )
        pieces = enhanced.last_hidden_state_vision.transpose(1, 2).split([h * w for h, w in sizes], dim=2)
        maps = [piece.reshape(level.shape) for piece, level in zip(pieces, levels)]
        return *maps, enhanced.last_hidden_state_text

    def write(self, w: GraphWriter, *inputs: str) -> tuple[str, ...]:
        *levels, hidden, attention_mask, position_ids, block_mask = inputs
        levels, hidden = write_enhancer(w, self.model, levels, hidden, attention_mask, position_ids, block_mask)
        return *levels, hidden


class HeadPart(PartModule):
    """The choice of queries, the decoder, and what it says of them in the end."""

    def __init__(self, model: GroundingDino):
        super().__init__()
        self.whole = model

    def seen(self, image: Tensor, sizes: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """The states of the cells that queries are chosen among, and their proposals."""
        padding = torch.zeros(image.shape[:2], dtype=torch.bool)
        return self.whole.model.generate_encoder_output_proposals(image, padding, sizes)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        *levels, text, attention_mask = inputs
        model, (image, sizes) = self.whole.model, _flat(levels)
        seen, proposals = self.seen(image, sizes)
        fits = model.encoder_output_class_embed(seen, text, attention_mask > 0).max(-1).values
        count = min(model.config.num_queries, fits.shape[1])
        chosen = fits.topk(count, dim=1).indices[..., None].expand(-1, -1, 4)
        reference = (model.encoder_output_bbox_embed(seen) + proposals).gather(1, chosen).sigmoid()
        decoded = self._decode(image, sizes, text, attention_mask, reference)
        entered = torch.cat([reference[:, None], decoded.intermediate_reference_points], 1)[:, -2]
        queries = decoded.last_hidden_state
        boxes = (self.whole.bbox_embed[-1](queries) + torch.special.logit(entered, eps=1e-5)).sigmoid()
        # Nothing is masked: no phrase has padding, and what padding fits is no matter.
        everything = torch.ones_like(attention_mask, dtype=torch.bool)
        logits = self.whole.class_embed[-1](queries, text, everything)
        return logits[..., : text.shape[1]], boxes

    def _decode(self, image: Tensor, sizes: list, text: Tensor, attention_mask: Tensor, reference: Tensor):
        model = self.whole.model
        # transformers' decoder repeats the padding of the text for every query that there could be.
        queries, model.config.num_queries = model.config.num_queries, reference.shape[1]
        try:
            return model.decoder(
                inputs_embeds=model.query_position_embeddings.weight[: reference.shape[1]].repeat(len(image), 1, 1),
                vision_encoder_hidden_states=image,
                vision_encoder_attention_mask=torch.ones(image.shape[:2], dtype=torch.bool),
                text_encoder_hidden_states=text,
                text_encoder_attention_mask=attention_mask == 0,
                reference_points=reference,
                **_geometry(image, sizes),
            )
        finally:
            model.config.num_queries = queries

    def write(self, w: GraphWriter, *inputs: str) -> tuple[str, ...]:
        *levels, text, attention_mask = inputs
        return write_decoder(w, self.whole, levels, text, attention_mask)

    @torch.no_grad()
    def example(self, levels: list[Tensor], attention_mask: Tensor) -> tuple[Tensor, ...]:
        """These inputs with words at which no two cells fit nearly as well.

        Which query is which depends on the order of the cells, and with random words rounding could change it.
        """
        tokens, width = attention_mask.shape[1], levels[0].shape[1]
        texts = []
        for states, mask in zip(self.seen(*_flat(levels))[0], attention_mask):
            drawn = torch.randn(500, tokens, width)
            fits = (drawn @ states.T)[:, mask > 0].max(1).values
            gaps = fits.sort(1).values.diff(dim=1).min(1).values
            texts.append(drawn[gaps.argmax()])
        return *levels, torch.stack(texts), attention_mask
