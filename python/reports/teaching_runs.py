"""Runs the experiments of teaching.md, one after another: `python reports/teaching_runs.py RUNS`.

It pre-trains the image encoder once. Then, for each seed, it draws the data, trains the teacher, lets it label the captions for
its student, trains that and the three other models, and measures all of them. What is done is not done again, so this can be
stopped and started at any time. It uses one core; seeds may be shared out among processes once there is an encoder.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numba
import numpy as np
import teaching_pretraining
import teaching_world as world
import torch
from tqdm import tqdm

from glip_torch.average_precision import coco_detections, coco_precision, coco_truth, mean_precision
from glip_torch.checkpoint import load_checkpoint, load_detector
from glip_torch.config import FusionConfig, GLIPConfig, SwinConfig, TextConfig
from glip_torch.data.convert.screen import Screening
from glip_torch.data.files import open_files, read_records
from glip_torch.data.grounding_batches import ImageOptions
from glip_torch.data.grounding_prompts import EVERY_CATEGORY, PromptOptions
from glip_torch.data.prompts import meant_by
from glip_torch.data.scenes import Scene
from glip_torch.dyhead import DyHead
from glip_torch.evaluate import Detector, ground, merge
from glip_torch.model import GLIP
from glip_torch.postprocess import Detections, inclusive_iou, to_inclusive
from glip_torch.preprocess import normalise, pad
from glip_torch.teaching.labels import Labeller, split
from glip_torch.teaching.teacher import Teacher, TeacherOptions
from glip_torch.tokenizer import build_tokenizer, class_tokenizer, model_tokenizer
from glip_torch.training.initialise import initialise
from glip_torch.training.launch import launch
from glip_torch.training.loop import Trainer
from glip_torch.training.network import Trained
from glip_torch.training.settings import NANO
from glip_torch.training.sources import GroundingFiles

SEEDS = (1, 2, 3)
#: Pictures of each data set, of a seed.
COUNTS = {"detection": 2000, "grounding": 2000, "captions": 2500}
TEST_SEED, TEST_SCENES = 90, 150
#: A third of glip-nano's width; anchors of half the usual size, as pictures are small.
CONFIG = GLIPConfig(
    SwinConfig(16, (1, 2, 2, 1), (1, 2, 4, 8), window=4),
    TextConfig(len(world.vocabulary()), hidden_size=64, layers=1, heads=2, intermediate_size=128, max_positions=64),
    channels=32,
    tower_layers=1,
    fusion=FusionConfig(embed_dim=64),
    anchor_sizes=(32, 64, 128, 256, 512),
)
SETTINGS = replace(NANO, batch=16, steps=1000, learning_rate=2e-3, language_rate=2e-3, warm_up=50, ema=0.99)
IMAGES = ImageOptions(short_sides=(world.SIDE,), long_side=world.SIDE)


@dataclass(frozen=True)
class Row:
    """A model of the table and the data it is trained on; labels are the captions with the teacher's boxes."""

    data: tuple[str, ...]
    fusion: bool = True
    closed_set: bool = False

    @property
    def config(self) -> GLIPConfig:
        words = len(world.DETECTED) if self.closed_set else CONFIG.text.vocab_size
        return replace(
            CONFIG, text=replace(CONFIG.text, vocab_size=words), fusion=CONFIG.fusion if self.fusion else None
        )

    @property
    def vocabulary(self) -> list[str]:
        return list(world.DETECTED) if self.closed_set else world.vocabulary()


#: In the order that they are trained in.
ROWS = {
    "c": Row(("detection", "grounding")),
    "student": Row(("detection", "grounding", "labels")),
    "b": Row(("detection",)),
    "dyhead": Row(("detection",), fusion=False, closed_set=True),
    "a": Row(("detection",), fusion=False),
}
TEACHER = "c"


# --- training -------------------------------------------------------------------------------------------------------


def train(name: str, seed: int, folder: Path, encoder: Path, steps: int) -> None:
    """Trains a row's model, from where it stands."""
    row, out = ROWS[name], folder / name
    settings = replace(SETTINGS, seed=seed, steps=steps)
    torch.manual_seed(seed)
    model = DyHead(row.config) if row.closed_set else GLIP(row.config)
    initialise(model)
    model.image_encoder.swin.load_state_dict(torch.load(encoder, weights_only=True))
    tokenizer = class_tokenizer(row.vocabulary, strict=True) if row.closed_set else build_tokenizer(row.vocabulary)
    prompts = EVERY_CATEGORY if row.closed_set else PromptOptions(max_tokens=CONFIG.text.max_positions)
    source = GroundingFiles([data_path(folder, kind) for kind in row.data], tokenizer, prompts, IMAGES)
    (out / "vocab.txt").write_text("\n".join(row.vocabulary) + "\n", encoding="utf-8")
    state = out / "state.pt"
    Trainer(Trained(model), source, settings, out, cpu=True, resume=state if state.exists() else None).run()


def data_path(folder: Path, kind: str) -> Path:
    return folder / "data" / (kind if kind == "labels" else f"{kind}.jsonl")


# --- the teacher ----------------------------------------------------------------------------------------------------


def label_captions(seed: int, folder: Path) -> None:
    """What `python -m glip_torch.teach` does, with its own numbers but for the size of pictures."""
    labels = data_path(folder, "labels")
    if (labels / "quality.json").exists():
        return
    labels.mkdir(exist_ok=True)
    model = load_checkpoint(folder / TEACHER / "model.pth", CONFIG.text.heads)
    teacher = Teacher(model, build_tokenizer(world.vocabulary()), TeacherOptions(world.SIDE, world.SIDE))
    labeller = Labeller(teacher, Screening(), TEACHER)
    for part in tqdm(split(open_files([data_path(folder, "captions")]), labels, blocks=1), "captions", mininterval=5):
        if not part.out.exists():
            labeller.run(part)
    quality = label_quality(seed, folder)
    (labels / "quality.json").write_text(json.dumps(quality) + "\n")
    print(json.dumps(quality), flush=True)


def label_quality(seed: int, folder: Path) -> dict[str, dict[str, int]]:
    """Of phrases by the shape that they name: how many there are, how many got boxes, how many boxes, how many right ones.

    A box is right if something that the phrase means overlaps it by half (IoU).
    """
    counts = {group: dict.fromkeys(("phrases", "labelled", "boxes", "right"), 0) for group in ("boxed", "unboxed")}
    for kind in ("captions", "labels"):
        for record in read_records(data_path(folder, kind)):
            scene = world.draw_scene(world.data_seed(seed, "captions"), int(Path(record.image).stem))
            for phrase in record.phrases:
                query = world.query_of(record.text[slice(*phrase.spans[0])])
                group = counts["unboxed" if query.shape in world.UNBOXED else "boxed"]
                if kind == "captions":
                    group["phrases"] += 1
                    continue
                meant = torch.tensor([scene.objects[i].box for i in meant_by(query, scene)])
                boxes = to_inclusive(torch.tensor(phrase.boxes).reshape(-1, 4))
                group["labelled"] += 1
                group["boxes"] += len(phrase.boxes)
                group["right"] += sum(bool((inclusive_iou(box, meant) >= 0.5).any()) for box in boxes)
    return counts


# --- measuring ------------------------------------------------------------------------------------------------------

#: What is asked of a picture, in one or several prompts: the names that detection data has, all names, all pairs.
PAIRS = [(colour, shape) for colour in world.COLOURS for shape in world.SHAPES]
QUESTIONS = {
    "detected": [list(world.DETECTED)],
    "names": [list(world.SHAPES)],
    "pairs": [[f"{colour} {shape}" for shape in world.SHAPES] for colour in world.COLOURS],
}


@torch.no_grad()
def measure(model: Detector, tokenizer, scenes: list[Scene]) -> dict[str, dict[str, float]]:
    """AP and AP50 by groups of names and pairs."""
    found: dict[str, list[Detections]] = {question: [] for question in QUESTIONS}
    prompts = [prompt for prompts in QUESTIONS.values() for prompt in prompts]
    for scene in tqdm(scenes, desc="test scenes", mininterval=5):
        pyramid = model.image_encoder(pad(normalise(scene.image))[None])
        answers = iter(ground(model, tokenizer, pyramid, scene.image.shape[:2], prompts))
        for question, parts in QUESTIONS.items():
            labels = np.split(np.arange(sum(map(len, parts))), np.cumsum([len(part) for part in parts])[:-1])
            found[question].append(merge([next(answers) for _ in parts], labels))
    return scores(found, scenes)


def scores(found: dict[str, list[Detections]], scenes: list[Scene]) -> dict[str, dict[str, float]]:
    names = {"detected": world.DETECTED, "names": world.SHAPES, "pairs": [" ".join(pair) for pair in PAIRS]}
    label = {
        "detected": lambda thing: world.DETECTED.index(thing.shape) if thing.shape in world.DETECTED else None,
        "names": lambda thing: world.SHAPES.index(thing.shape),
        "pairs": lambda thing: PAIRS.index((thing.colour, thing.shape)),
    }
    precision = {}
    for question, detections in found.items():
        objects = [[(label[question](o), o.box) for o in scene.objects] for scene in scenes]
        truth = coco_truth([[o for o in things if o[0] is not None] for things in objects], names[question])
        precision[question] = coco_precision(truth, coco_detections(detections))
    return {
        group: mean_precision(precision[question][:, :, np.array(chosen)])
        for group, (question, chosen) in GROUPS.items()
    }


def _shapes(group: tuple[str, ...]) -> list[bool]:
    return [shape in group for shape in world.SHAPES]


def _pairs(group: tuple[str, ...], unsaid: bool) -> list[bool]:
    return [pair[1] in group and (pair in world.UNSAID) == unsaid for pair in PAIRS]


BOXED = (*world.DETECTED, *world.CAPTIONED)
#: What AP is the mean over: a question, and which of its names.
GROUPS = {
    "detected": ("detected", [True] * len(world.DETECTED)),
    "detected among all": ("names", _shapes(world.DETECTED)),
    "captioned": ("names", _shapes(world.CAPTIONED)),
    "unboxed": ("names", _shapes(world.UNBOXED)),
    "said pairs": ("pairs", _pairs(BOXED, False)),
    "unsaid pairs": ("pairs", _pairs(BOXED, True)),
    "unboxed pairs": ("pairs", _pairs(world.UNBOXED, False)),
}


# --- all of it ------------------------------------------------------------------------------------------------------


def run_row(name: str, seed: int, folder: Path, encoder: Path, steps: int, scenes: list[Scene]) -> None:
    out = folder / name
    result = out / "result.json"
    if result.exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    print(f"seed {seed}, {name}", flush=True)
    train(name, seed, folder, encoder, steps)
    model = load_detector(out / "model.pth", CONFIG.text.heads)
    numbers = measure(model, model_tokenizer(model, out / "vocab.txt"), scenes)
    minutes = torch.load(out / "state.pt", weights_only=True)["seconds"] / 60
    result.write_text(json.dumps({"model": name, "seed": seed, "minutes": round(minutes, 2), "scores": numbers}) + "\n")
    print(json.dumps(numbers), flush=True)


def run(arguments: argparse.Namespace) -> None:
    numba.set_num_threads(1)
    scenes = [world.draw_scene(TEST_SEED, index) for index in range(TEST_SCENES)]
    encoder = arguments.runs / "encoder" / "swin.pth"
    if not encoder.exists():
        teaching_pretraining.pretrain(CONFIG.backbone, encoder.parent)
    for seed in arguments.seeds:
        folder = arguments.runs / f"seed-{seed}"
        world.write_data(folder / "data", seed, COUNTS)
        for name in arguments.models:
            if "labels" in ROWS[name].data:
                label_captions(seed, folder)
            run_row(name, seed, folder, encoder, arguments.steps, scenes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of all runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument(
        "--models", nargs="+", choices=ROWS, default=list(ROWS), help="in this order; a student needs its teacher"
    )
    parser.add_argument(
        "--steps", type=int, default=SETTINGS.steps, help="of every model; give another RUNS for others"
    )
    arguments = parser.parse_args()
    arguments.runs.mkdir(parents=True, exist_ok=True)
    # As the training command does: one thread, and its settings for memory and tiny numbers.
    launch(run, arguments, arguments.runs, processes=1, threads=1, cpu=True)


if __name__ == "__main__":
    main()
