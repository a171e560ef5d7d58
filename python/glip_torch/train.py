"""Trains a GLIP.

On data of one's own, from a checkpoint (official's, or one that this command wrote):

    python -m glip_torch.train OUT --init CHECKPOINT.pth --vocab vocab.txt --data train.jsonl --epochs 10

`--data` takes grounding files, tar shards, and folders of either (`python -m glip_torch.data` makes them from other layouts);
a file that is given twice counts twice. The defaults are official's for pre-training.

From scratch, a small model on scenes that are rendered as they are needed, which is how glip-drawn was made; with --init, more of
it:

    python -m glip_torch.train OUT --minutes 85

The closed-set detector that GLIP is compared with, DyHead of the same size, on the detection records of files:

    python -m glip_torch.train OUT --closed-set --data train.jsonl --epochs 10

The same command uses one CPU, or one GPU, or all GPUs of a machine; for several machines, start it with `torchrun` or
`accelerate launch` on each (`torchrun --nnodes 2 ... -m glip_torch.train OUT ...`).

A run can be stopped at any time: started again with the same arguments, it goes on from OUT/state.pt as if it had never
stopped. Processes, --batch and --accumulate may change if their product does not. What it writes:

OUT/state.pt          everything to go on from
OUT/model.pth         the averaged (EMA) weights as an official-format checkpoint
OUT/vocab.txt         the vocabulary
OUT/log.jsonl         one JSON object every few steps
OUT/skipped.*.jsonl   records that could not be used, and why
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from tokenizers import Tokenizer

from .atomic import written
from .checkpoint import CheckpointError, load_detector
from .config import NANO, NANO_MIXED
from .data.files import open_files
from .data.grounding import DataError
from .data.grounding_batches import ImageOptions
from .data.grounding_prompts import EVERY_CATEGORY, PromptOptions
from .data.prompts import clean_name
from .data.sprites import PicturesMissing
from .data.worlds import WORLDS
from .dyhead import DyHead
from .model import GLIP
from .probes import AttributeProbes
from .tokenizer import build_tokenizer, class_tokenizer
from .training import TrainingError
from .training.initialise import initialise, set_dropout
from .training.launch import launch
from .training.settings import RECIPES, Settings
from .training.sources import GroundingFiles, RenderedScenes, Source

#: The model from scratch for each world.
SMALL_MODELS = {"shapes": NANO, "mixed": NANO_MIXED}
#: Sizes of images for a model from scratch, as those of rendered scenes.
NANO_IMAGES = ImageOptions(short_sides=(192, 224, 256), long_side=426)
#: Processes that read ahead for each GPU, as official's.
GPU_WORKERS = 4


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m glip_torch.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder of the run; one that exists is resumed")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--steps", type=int, help="length of the run in steps: exactly reproducible")
    length.add_argument("--epochs", type=float, help="length of the run in passes over --data")
    length.add_argument("--minutes", type=float, help="length of the run in minutes of training, whatever the machine")

    model = parser.add_argument_group("model")
    model.add_argument("--init", type=Path, help="checkpoint to begin with (default: a small model from scratch)")
    model.add_argument("--vocab", type=Path, help="its vocab.txt (default: beside the checkpoint)")
    model.add_argument("--text-heads", type=int, help="its BERT's heads (default: hidden size / 64)")
    model.add_argument(
        "--closed-set",
        action="store_true",
        help="from scratch: DyHead, which knows the categories of --data and no words",
    )
    model.add_argument(
        "--no-fusion", action="store_true", help="from scratch: words and image meet in the head only, as in GLIP-T (A)"
    )

    data = parser.add_argument_group("data")
    data.add_argument(
        "--world",
        choices=sorted(WORLDS),
        default="shapes",
        help="what rendered scenes show, with its words and size of model (default: shapes)",
    )
    data.add_argument("--data", type=Path, nargs="+", metavar="FILE", help="grounding files (default: rendered scenes)")
    data.add_argument(
        "--short-sides",
        type=int,
        nargs="+",
        help="short sides of images, one drawn for each step (default: the checkpoint's; for scenes: growing)",
    )
    data.add_argument("--long-side", type=int, help="longest side of images (default: the checkpoint's)")
    data.add_argument("--flip", type=float, help="chance to mirror an image that nothing calls left or right")
    data.add_argument("--negatives", type=int, help="names of absent categories in a prompt, at most")
    data.add_argument("--full-share", type=float, help="share of prompts with as many of them as there may be")
    data.add_argument(
        "--mostly-few", action="store_true", default=None, help="few of them more often than many, which take longer"
    )
    data.add_argument(
        "--verified-only", action="store_true", default=None, help="only those that records list as absent (LVIS)"
    )
    data.add_argument(
        "--certain",
        type=float,
        help="score below which a model's boxes are neither there nor absent (default: none are)",
    )
    data.add_argument("--workers", type=int, help="processes that read ahead for each process of the run")

    _add_settings(parser.add_argument_group("training (defaults are the recipe's)"))

    machine = parser.add_argument_group("machine")
    machine.add_argument("--processes", type=int, help="data-parallel processes (default: GPUs; CPU cores for scenes)")
    machine.add_argument("--cpu", action="store_true", help="leave GPUs alone")
    machine.add_argument("--resume", type=Path, help="go on from this state-STEP.pt instead of OUT/state.pt")
    machine.add_argument(
        "--first-step",
        type=int,
        default=0,
        help="with --init: where in the schedule to begin, if only weights are left of a run",
    )
    machine.add_argument("--tensorboard", action="store_true", help="also log to OUT/tensorboard")
    return parser.parse_args(arguments)


def _add_settings(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--recipe",
        choices=sorted(RECIPES),
        help="default: nano for scenes and from scratch, gated for a model with gated fusion, else official",
    )
    group.add_argument("--seed", type=int)
    group.add_argument("--batch", type=int, help="examples of a process at a time")
    group.add_argument("--accumulate", type=int, help="batches of a process that make a step")
    group.add_argument("--precision", choices=("no", "bf16", "fp16"))
    group.add_argument("--learning-rate", type=float)
    group.add_argument("--language-rate", type=float, help="learning rate of the text encoder")
    group.add_argument("--fusion-rate", type=float, help="learning rate of fusion that is new (recipe gated: 1e-3)")
    group.add_argument("--dropout", type=float, help="share of numbers that dropout leaves out")
    group.add_argument("--schedule", choices=("step", "cosine"))
    group.add_argument("--final-share", type=float, help="where the cosine ends, as a share of the rates")
    group.add_argument("--warm-up", type=int, help="steps (official recipe: 2000, at most a tenth of the run)")
    group.add_argument("--weight-decay", type=float)
    group.add_argument("--gradient-clip", type=float)
    group.add_argument("--ema", type=float, help="memory of the averaged weights")
    group.add_argument(
        "--shared-target",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="tokens of a phrase share a target of 1, as official, or each has it (default: the checkpoint's)",
    )
    group.add_argument(
        "--joint-score",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="train words and centerness as one score",
    )
    group.add_argument("--freeze-image-encoder", action=argparse.BooleanOptionalAction, default=None)
    group.add_argument("--log-every", type=int, help="steps between lines of the log")
    group.add_argument("--save-minutes", type=float, help="time between states")
    group.add_argument("--keep-every", type=int, help="steps between states that are kept")


def main(arguments: list[str] | None = None) -> None:
    parsed = parse_arguments(arguments)
    try:
        check_arguments(parsed)
        parsed.out.mkdir(parents=True, exist_ok=True)
        cpu, processes, threads = machine(parsed)
        launch(run_process, parsed, parsed.out, processes, threads, cpu)
    except TrainingError as error:
        sys.exit(str(error))
    except torch.multiprocessing.ProcessExitedException:
        # The process has said why.
        sys.exit(1)


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raises `TrainingError` for options that do not go together."""
    if arguments.epochs is not None and not arguments.data:
        raise TrainingError("rendered scenes have no epochs: give --steps or --minutes, or files with --data")
    if arguments.init and arguments.no_fusion:
        raise TrainingError("--no-fusion is for a model from scratch: a checkpoint has fusion or not")
    if arguments.first_step and not (arguments.init and arguments.steps and 0 < arguments.first_step < arguments.steps):
        raise TrainingError(
            f"--first-step is {arguments.first_step}: it needs the weights to go on with (--init), and --steps beyond it"
        )
    if arguments.closed_set and (arguments.init or not arguments.data):
        raise TrainingError("--closed-set is for a model from scratch on files: give --data, and leave --init out")
    if arguments.precision == "fp16" and machine(arguments)[0]:
        raise TrainingError("--precision fp16 needs a GPU: use bf16, or leave it out")
    for name in ("steps", "epochs", "minutes", "batch", "accumulate", "processes", "learning_rate", "log_every"):
        value = getattr(arguments, name)
        if value is not None and value <= 0:
            raise TrainingError(f"--{name.replace('_', '-')} is {value}: give a number above 0")
    try:
        import accelerate  # noqa: F401
    except ModuleNotFoundError:
        raise TrainingError("training needs the package accelerate: pip install 'glip-torch[train]'") from None


def machine(arguments: argparse.Namespace) -> tuple[bool, int, int]:
    """Whether the run is on the CPU, its processes here, and the threads of each."""
    cpu = arguments.cpu or not torch.cuda.is_available()
    cores = os.cpu_count() or 1
    if not cpu:
        return cpu, arguments.processes or torch.cuda.device_count(), 1
    if not arguments.data:
        return cpu, arguments.processes or cores, 1
    processes = arguments.processes or 1
    return cpu, processes, max(1, cores // processes)


def run_process(arguments: argparse.Namespace) -> None:
    """What each process does; ends it with a message if the run cannot begin or go on."""
    try:
        _run(arguments)
    except (TrainingError, DataError, CheckpointError, PicturesMissing) as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(1)


def _run(arguments: argparse.Namespace) -> None:
    from .training.loop import Trainer
    from .training.network import Trained

    cpu, _, _ = machine(arguments)
    setup = prepare(arguments)
    state = arguments.resume or arguments.out / "state.pt"
    resume = state if arguments.resume or state.exists() else None
    trained = Trained(setup.model, setup.probes)
    trainer = Trainer(trained, setup.source, setup.settings, arguments.out, cpu, resume, arguments.tensorboard)
    if resume is None:
        trainer.state.step = arguments.first_step
    if trainer.rank == 0:
        with written(arguments.out / "vocab.txt") as partial:
            partial.write_text("\n".join(setup.vocabulary) + "\n", encoding="utf-8")
    trainer.run()
    if trainer.rank == 0:
        print(f"wrote {arguments.out / 'model.pth'}", flush=True)


@dataclass
class Setup:
    """What the arguments ask for."""

    vocabulary: list[str]
    model: GLIP | DyHead
    probes: AttributeProbes | None
    source: Source
    settings: Settings


def prepare(arguments: argparse.Namespace) -> Setup:
    vocabulary = read_vocabulary(arguments)
    seed = Settings.seed if arguments.seed is None else arguments.seed
    # Every process draws the same weights.
    torch.manual_seed(seed)
    model = build_model(arguments, len(vocabulary))
    settings = _with_options(recipe(arguments, model), arguments)
    if settings.dropout is not None:
        set_dropout(model, settings.dropout)
    model.image_encoder.requires_grad_(not settings.freeze_image_encoder)
    tokenizer = training_tokenizer(model, vocabulary)
    scenes = not arguments.data
    stages = 1 + model.config.tower_layers
    probes = AttributeProbes(model.config.channels, stages, WORLDS[arguments.world].attributes) if scenes else None
    source = scene_source(arguments, tokenizer) if scenes else file_source(arguments, tokenizer, model)
    model.recommended = model.recommended.trained_on(source.sides, settings.shared_target)
    return Setup(vocabulary, model, probes, source, with_length(settings, arguments, source))


def recipe(arguments: argparse.Namespace, model: GLIP | DyHead) -> Settings:
    """With the target that the model was trained with, if it is known."""
    settings, shared = RECIPES[arguments.recipe or natural_recipe(arguments, model)], model.recommended.shared_target
    return settings if shared is None else replace(settings, shared_target=shared)


def natural_recipe(arguments: argparse.Namespace, model: GLIP | DyHead) -> str:
    if not (arguments.init and arguments.data):
        return "nano"
    return "gated" if model.config.fusion is not None and model.config.fusion.gated else "official"


def read_vocabulary(arguments: argparse.Namespace) -> list[str]:
    if arguments.closed_set:
        return closed_set(arguments.data)
    if arguments.vocab is None and arguments.init is None:
        return WORLDS[arguments.world].vocabulary()
    path = arguments.vocab or arguments.init.with_name("vocab.txt")
    try:
        vocabulary = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        raise TrainingError(
            f"the vocabulary {path} cannot be read: give the model's with --vocab (official models: bert-base-uncased's vocab.txt)"
        ) from None
    if not arguments.data and vocabulary != WORLDS[arguments.world].vocabulary():
        raise TrainingError(
            f"the vocabulary {path} is not that of the world {arguments.world!r}, whose words its scenes are asked for with: give "
            "another --world, or files with --data"
        )
    return vocabulary


def closed_set(files: list[Path]) -> list[str]:
    """The classes of a closed-set detector: the categories of the files' headers, as prompts say them."""
    names = dict.fromkeys(clean_name(name) for file in open_files(files) for name in file.header.categories)
    if not names:
        raise TrainingError("no header of --data lists categories, which are what --closed-set learns: list them there")
    return list(names)


def training_tokenizer(model: GLIP | DyHead, vocabulary: list[str]) -> Tokenizer:
    return class_tokenizer(vocabulary, strict=True) if isinstance(model, DyHead) else build_tokenizer(vocabulary)


def build_model(arguments: argparse.Namespace, vocabulary_size: int) -> GLIP | DyHead:
    if arguments.init is None:
        config = SMALL_MODELS[arguments.world]
        text = replace(config.text, vocab_size=vocabulary_size)
        config = replace(config, text=text, fusion=None if arguments.no_fusion else config.fusion)
        model = DyHead(config) if arguments.closed_set else GLIP(config)
        initialise(model)
        return model
    model = load_detector(arguments.init, arguments.text_heads)
    if model.config.text.vocab_size < vocabulary_size:
        raise TrainingError(
            f"the vocabulary has {vocabulary_size} tokens, the model knows {model.config.text.vocab_size}: give the model's own "
            "with --vocab"
        )
    return model


def scene_source(arguments: argparse.Namespace, tokenizer: Tokenizer) -> RenderedScenes:
    return RenderedScenes(tokenizer, arguments.world, tuple(arguments.short_sides or ()), workers(arguments))


def file_source(arguments: argparse.Namespace, tokenizer: Tokenizer, model: GLIP | DyHead) -> GroundingFiles:
    if isinstance(model, DyHead):
        prompts = EVERY_CATEGORY
    else:
        prompts = PromptOptions(max_tokens=min(PromptOptions.max_tokens, model.config.text.max_positions))
    images = _with_options(natural_images(arguments, model), arguments)
    return GroundingFiles(
        arguments.data,
        tokenizer,
        _with_options(prompts, arguments),
        replace(images, short_sides=tuple(images.short_sides)),
        workers(arguments),
    )


def natural_images(arguments: argparse.Namespace, model: GLIP | DyHead) -> ImageOptions:
    """Of the size that the model is recommended for, if it is known."""
    if not arguments.init:
        return NANO_IMAGES
    if model.recommended.sides is None:
        return ImageOptions()
    short_side, long_side = model.recommended.sides
    return ImageOptions(short_sides=(short_side,), long_side=long_side)


def workers(arguments: argparse.Namespace) -> int:
    """Processes that read ahead for each process of the run: a GPU should not wait for pictures."""
    cpu, processes, _ = machine(arguments)
    if arguments.workers is not None or cpu:
        return arguments.workers or 0
    # A core renders about a hundred scenes a second, and a GPU learns from many more.
    return GPU_WORKERS if arguments.data else max(1, (os.cpu_count() or 1) // processes - 1)


def with_length(settings: Settings, arguments: argparse.Namespace, source: Source) -> Settings:
    """The settings with the run's number of steps, if it is known, and a warm-up that is over before the run is."""
    if arguments.epochs is not None:
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        examples = settings.batch * settings.accumulate * processes
        settings = replace(settings, steps=math.ceil(arguments.epochs * source.records / examples))
    if settings.steps is not None and arguments.warm_up is None and arguments.init:
        settings = replace(settings, warm_up=min(settings.warm_up, settings.steps // 10))
    return settings


def _with_options(defaults, arguments: argparse.Namespace):
    """The dataclass with those of its fields that were given as options."""
    given = {field.name: getattr(arguments, field.name, None) for field in fields(defaults)}
    return replace(defaults, **{name: value for name, value in given.items() if value is not None})


if __name__ == "__main__":
    main()
