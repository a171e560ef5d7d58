"""Does manual context help with words a model never saw? `python reports/context.py OUT.json --model NAME=model.pth ...`.

Ten words that the first glip-nano was never given for its shapes, each asked for alone and with context of words it knows
around it. Only the tokens of the word itself count. AP over the ten shapes on rendered scenes, with pycocotools.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numba
import numpy as np
import torch
from tqdm import tqdm
from tuning_runs import TEXT_HEADS, named_paths

from glip_torch.average_precision import coco_detections, coco_precision, coco_truth, mean_precision
from glip_torch.checkpoint import load_checkpoint
from glip_torch.data.scenes import SHAPES, Scene
from glip_torch.evaluate import evaluation_scene
from glip_torch.model import GLIP
from glip_torch.postprocess import Detections, detect
from glip_torch.preprocess import normalise, pad
from glip_torch.tokenizer import build_tokenizer
from glip_torch.tuning.phrases import Category, TuningPrompt, build_prompt

#: In no prompt of its training, neither for these shapes nor as a name of what is not there.
UNSEEN = {
    "circle": "orb",
    "square": "tile",
    "triangle": "wedge",
    "star": "asterisk",
    "cross": "crucifix",
    "ring": "loop",
    "heart": "valentine",
    "diamond": "lozenge",
    "crescent": "lune",
    "arrow": "dart",
}
#: Prefix and suffix; `{}` is the shape's known name.
CONTEXTS = {
    "none": ("", ""),
    "WORD shape": ("", " shape"),
    "a WORD in the picture": ("a ", " in the picture"),
    "solid WORD": ("solid ", ""),
    "WORD KNOWN": ("", " {}"),
    "KNOWN WORD": ("{} ", ""),
    "WORD that is a KNOWN": ("", " that is a {}"),
}
SCENES = 100


def forms() -> dict[str, list[Category]]:
    """What is asked, by form: the known names, and the unseen ones in every context."""
    return {"KNOWN": [Category(shape) for shape in SHAPES]} | {
        form: [Category(UNSEEN[shape], prefix.format(shape), suffix.format(shape)) for shape in SHAPES]
        for form, (prefix, suffix) in CONTEXTS.items()
    }


@torch.no_grad()
def ground(model: GLIP, prompt: TuningPrompt, pyramid: list[torch.Tensor], size: tuple[int, int]) -> Detections:
    ids = torch.tensor([prompt.input_ids])
    mask = torch.ones_like(ids)
    output = model.head(*model.fuse(pyramid, model.text_encoder(ids, mask)[0], mask))
    sizes = [tuple(level.shape[2:]) for level in pyramid]
    phrases, config = [phrase.tokens for phrase in prompt.phrases], model.config
    return detect(output, 0, phrases, sizes, config.strides, config.anchor_sizes, size)


def measure(checkpoint: Path, scenes: list[Scene]) -> dict[str, dict[str, float]]:
    """AP and AP50 by form."""
    model = load_checkpoint(checkpoint, TEXT_HEADS)
    tokenizer = build_tokenizer(checkpoint.with_name("vocab.txt"))
    prompts = {form: build_prompt(SHAPES, categories, tokenizer, 256) for form, categories in forms().items()}
    found: dict[str, list[Detections]] = {form: [] for form in prompts}
    for scene in tqdm(scenes, desc=str(checkpoint), mininterval=5):
        with torch.no_grad():
            pyramid = model.image_encoder(pad(normalise(scene.image))[None])
        for form, prompt in prompts.items():
            found[form].append(ground(model, prompt, pyramid, scene.image.shape[:2]))
    truth = coco_truth([[(SHAPES.index(o.shape), o.box) for o in scene.objects] for scene in scenes], SHAPES)
    precisions = {form: coco_precision(truth, coco_detections(these)) for form, these in found.items()}
    return {
        form: {name: float(np.round(value, 5)) for name, value in mean_precision(precision).items()}
        for form, precision in precisions.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", action="append", required=True, metavar="NAME=CHECKPOINT")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    scenes = [evaluation_scene("test", index) for index in range(SCENES)]
    result = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    result |= {name: measure(checkpoint, scenes) for name, checkpoint in named_paths(arguments.model).items()}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
