"""Small random models of the Grounding DINO family, and what transformers makes of pictures with them.

    python python/tests/grounding_dino_cases.py tests/fixtures/golden/grounding_dino

writes a bundle of each kind and, for each case, what every stage gives: the golden numbers of the Rust tests.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tiny_grounding_dino as tiny
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from transformers import GroundingDinoImageProcessorPil
from transformers.models.grounding_dino.modeling_grounding_dino import (
    SPECIAL_TOKENS,
    generate_masks_with_special_tokens_and_transfer_map,
)

from glip_torch.config import Recommended
from glip_torch.export.__main__ import export_bundle
from glip_torch.export.bundle import BundleOptions
from glip_torch.grounding_dino import GroundingDino
from glip_torch.tokenizer import build_tokenizer

IMAGES = Path(__file__).parents[2] / "tests/fixtures/images"


@dataclass(frozen=True)
class Kind:
    """What sets the members of the family apart."""

    mm: bool
    levels: int
    window: int
    width: int = 32
    queries: int = 24
    #: Whether the layers of an MM-Grounding-DINO share their heads.
    shared_heads: bool = False


KINDS = {
    "four_levels": Kind(mm=False, levels=4, window=7),
    "five_levels": Kind(mm=True, levels=5, window=12),
}


@dataclass(frozen=True)
class Case:
    """A picture, and a text with the places of what is looked for, as bytes."""

    name: str
    image: str
    text: str
    spans: list[tuple[int, int]]
    short_side: int
    long_side: int

    @staticmethod
    def of_names(name: str, image: str, names: list[str], sides: tuple[int, int]) -> Case:
        text, spans = "", []
        for phrase in names:
            text += " " if text else ""
            spans.append((len(text), len(text) + len(phrase)))
            text += phrase + "."
        return Case(name, image, text, spans, *sides)


CASES = [
    Case.of_names("one", "classes", ["raccoon"], (64, 107)),
    Case.of_names("many", "cells", ["red blood cell", "white blood cell", "platelets", "a person"], (75, 133)),
    Case(
        "caption", "caption", "the raccoon on the red plate, a cat in the dog?.", [(4, 11), (19, 28), (32, 35)], 83, 97
    ),
]


def tokenizer_in(folder: Path) -> Tokenizer:
    file = folder / "vocab.txt"
    file.write_text("\n".join(tiny.VOCABULARY) + "\n", encoding="utf-8")
    return build_tokenizer(file)


def random_model(kind: Kind, seed: int = 0) -> GroundingDino:
    options = {"swin": {"window_size": kind.window}, "d_model": kind.width, "num_queries": kind.queries}
    if not kind.mm:
        return tiny.grounding_dino(kind.levels, seed, **options)
    shared = {f"decoder_{head}_embed_share": kind.shared_heads for head in ("bbox", "cls")}
    return tiny.mm_grounding_dino(kind.levels, seed, **options, **shared)


@dataclass(frozen=True)
class Stages:
    """What transformers gives for one picture and one text, batches of one."""

    arrays: dict[str, np.ndarray]
    #: The least difference between two cells that fit the text nearly as well: which query is which hangs on it.
    gap: float


@torch.no_grad()
def stages(model: GroundingDino, tokenizer: Tokenizer, case: Case, image: Image.Image) -> Stages:
    processor = GroundingDinoImageProcessorPil(size={"shortest_edge": case.short_side, "longest_edge": case.long_side})
    pixels = processor(image, return_tensors="pt").pixel_values
    encoding = tokenizer.encode(case.text)
    ids = torch.tensor([encoding.ids])
    blocks, positions = generate_masks_with_special_tokens_and_transfer_map(ids, torch.tensor(SPECIAL_TOKENS))
    seen = {}

    def keep(name: str):
        return lambda _module, _inputs, output: seen.setdefault(name, []).append(output)

    inner = model.model
    hooks = [inner.text_projection.register_forward_hook(keep("hidden"))]
    hooks += [projection.register_forward_hook(keep("pyramid")) for projection in inner.input_proj_vision]
    output = model(pixel_values=pixels, input_ids=ids, return_dict=True)
    for hook in hooks:
        hook.remove()
    arrays = {
        "pixels": pixels,
        "input_ids": ids,
        "position_ids": positions,
        "block_mask": blocks,
        "hidden": seen["hidden"][0],
        "fused_hidden": output.encoder_last_hidden_state_text,
        "logits": output.logits[..., : ids.shape[1]],
        "boxes": output.pred_boxes,
    }
    shapes = [level.shape for level in seen["pyramid"]]
    cells = output.encoder_last_hidden_state_vision.transpose(1, 2).split([h * w for _, _, h, w in shapes], dim=2)
    for level, (features, enhanced) in enumerate(zip(seen["pyramid"], cells)):
        arrays[f"pyramid_{level}"] = features
        arrays[f"fused_{level}"] = enhanced.reshape(features.shape)
    fits = output.enc_outputs_class[0].max(-1).values.sort(descending=True).values
    gap = fits[: model.config.num_queries + 1].diff().abs().min().item()
    arrays |= detections(output, encoding, case, image.size)
    return Stages({name: np.asarray(array) for name, array in arrays.items()}, gap)


def detections(output, encoding, case: Case, size: tuple[int, int]) -> dict[str, Tensor]:
    """All pairs of query and phrase, by falling mean of the phrase's tokens; boxes in pixels, on the image."""
    probabilities = output.logits[0].sigmoid()
    tokens = [[encoding.char_to_token(char) for char in range(begin, end)] for begin, end in case.spans]
    tokens = [sorted({token for token in of_phrase if token is not None}) for of_phrase in tokens]
    scores = torch.stack([probabilities[:, of_phrase].mean(1) for of_phrase in tokens], 1)
    order = scores.flatten().argsort(descending=True)[:300]
    x, y, width, height = output.pred_boxes[0].unbind(-1)
    edges = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], -1).clamp(0, 1)
    boxes = edges * torch.tensor([*size, *size])
    return {
        "found_boxes": boxes[order // len(tokens)],
        "scores": scores.flatten()[order],
        "labels": order % len(tokens),
    }


def well_told_apart(kind: Kind, tokenizer: Tokenizer, cases: list[Case]) -> tuple[GroundingDino, list[Stages]]:
    """A model at which rounding cannot change the order of the queries in any of the cases."""
    for seed in range(100):
        model = random_model(kind, seed)
        found = [stages(model, tokenizer, case, picture(case)) for case in cases]
        if min(case.gap for case in found) > 3e-4:
            return model, found
    raise RuntimeError("no seed tells the cells apart: draw fewer queries")


def picture(case: Case) -> Image.Image:
    return Image.open(IMAGES / f"{case.image}.png").convert("RGB")


def main(out: Path) -> None:
    for name, kind in KINDS.items():
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer = tokenizer_in(folder)
        (folder / "vocab.txt").unlink()
        model, found = well_told_apart(kind, tokenizer, CASES)
        options = BundleOptions(
            name, recommended=Recommended(800, 1333), weights="random, for tests", licence="MIT OR Apache-2.0"
        )
        export_bundle(model, tokenizer, folder / "bundle", options, overwrite=True)
        for case, expected in zip(CASES, found):
            np.savez_compressed(
                folder / f"{case.name}.npz",
                **{k: v[0] if k not in ("found_boxes", "scores", "labels") else v for k, v in expected.arrays.items()},
            )
    (out / "cases.json").write_text(json.dumps([asdict(case) for case in CASES], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
