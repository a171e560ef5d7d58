"""Tunes a GLIP on data of your own: `python -m glip_torch.tune CHECKPOINT OUT --method prompt --train train.json ...`.

Data are COCO-format files. Three methods, with the sets of parameters and the rates of official GLIP:

prompt   one offset for each token of the prompt; writes OUT/prompt.safetensors, which replaces the text encoder
linear   the head's last layers; writes OUT/model.pth
full     everything but the bottom of the image encoder; writes OUT/model.pth

The model of the epoch with the best AP on the validation set is the one that is tested and kept. OUT/result.json has AP
before and after on both sets, the settings, and every epoch. A run that was stopped goes on if it is started again.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from .checkpoint import CheckpointError, load_checkpoint
from .config import OFFICIAL, Recommended
from .data.coco import Problem
from .tokenizer import build_tokenizer
from .tuning import TuningError
from .tuning.coco import check_same_categories, read_coco
from .tuning.loop import Splits, Tuner
from .tuning.methods import METHODS
from .tuning.phrases import build_prompt, read_categories
from .tuning.settings import Settings
from .tuning.shots import draw_shots, first_images


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m glip_torch.tune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    defaults = Settings()
    parser.add_argument("checkpoint", type=Path, help="official-format checkpoint (.pth)")
    parser.add_argument("out", type=Path, help="folder of the run; one that was stopped is gone on with")
    parser.add_argument("--method", required=True, help=", ".join(METHODS))
    parser.add_argument("--overwrite", action="store_true", help="tune again where OUT has a result already")

    data = parser.add_argument_group("data")
    for split in ("train", "val", "test"):
        data.add_argument(f"--{split}", type=Path, required=True, metavar="JSON", help="COCO file")
    data.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of the images of all three")
    data.add_argument(
        "--shots", default="all", help="boxes of every category at least: 1, 3, 5, 10 ..., or %(default)s"
    )
    data.add_argument("--seed", type=int, default=defaults.seed, help="of the shots and of the order of images")
    data.add_argument("--validation-images", type=int, metavar="N", help="at most so many, to save time (default: all)")

    text = parser.add_argument_group("prompt")
    text.add_argument(
        "--prompts", type=Path, help="JSON or YAML list of {name, prefix, suffix}, by ascending category id"
    )
    text.add_argument("--vocab", type=Path, help="vocab.txt of the model (default: beside the checkpoint)")
    text.add_argument("--text-heads", type=int, help="BERT's attention heads (default: hidden size / 64)")
    text.add_argument("--max-tokens", type=int, default=defaults.max_tokens, help="of the prompt, %(default)s")

    image = parser.add_argument_group("image size")
    image.add_argument(
        "--short-side", type=int, help=f"of the resized image (default: the checkpoint's, or {OFFICIAL.short_side})"
    )
    image.add_argument("--long-side", type=int, help=f"at most (default: the checkpoint's, or {OFFICIAL.long_side})")

    learning = parser.add_argument_group("learning", "defaults are official GLIP's")
    learning.add_argument("--learning-rate", type=float, help="default: 0.05 for prompt, else 1e-4")
    learning.add_argument("--language-rate", type=float, help="of the text encoder (full), default: 1e-5")
    learning.add_argument("--weight-decay", type=float, help="default: 0.25 for prompt, else 0.05")
    learning.add_argument("--batch", type=int, default=defaults.batch, help="images, %(default)s")
    learning.add_argument("--epochs", type=int, default=defaults.epochs, help="at most, %(default)s")
    learning.add_argument(
        "--copies", type=int, help="of the set in an epoch, default: 8, 4, 2 for 1, 3, 5 shots, else 1"
    )
    learning.add_argument(
        "--step-patience", type=int, help="epochs without improvement until the rate falls: 3, all: 2"
    )
    learning.add_argument("--stop-patience", type=int, help="worse epochs in a row that end the run: 8, all: 4")
    learning.add_argument("--rate-factor", type=float, default=defaults.rate_factor, help="%(default)s")
    learning.add_argument("--least-rate", type=float, default=defaults.least_rate, help="%(default)s")
    learning.add_argument("--gradient-clip", type=float, default=defaults.gradient_clip, help="norm, %(default)s")
    learning.add_argument(
        "--token-target",
        choices=("shared", "one"),
        help="what a phrase's tokens are trained towards: a share of 1 as official GLIP, or 1 each as glip-drawn "
        "(default: the checkpoint's, or shared)",
    )
    learning.add_argument(
        "--joint-score",
        action="store_true",
        help="train words and centerness as one score, their product, where centerness is objectness as in glip-nano "
        "(default: each by itself)",
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="CPU threads, %(default)s: small models gain more from runs side by side"
    )
    parser.add_argument("--device", default="cpu", help="PyTorch's, %(default)s")
    return parser.parse_args(arguments)


def settings_of(arguments: argparse.Namespace, recommended: Recommended) -> Settings:
    """With the model's sizes and target where none are given; raises `TuningError` for settings that cannot be."""
    shared = None if arguments.token_target is None else arguments.token_target == "shared"
    given = Recommended(arguments.short_side, arguments.long_side, shared_target=shared)
    chosen = vars(given.filled(recommended).filled(OFFICIAL))
    own = {name: value for name, value in (vars(arguments) | chosen).items() if name in Settings.__dataclass_fields__}
    return Settings(**own | {"shots": parse_shots(arguments.shots)}).resolved()


def parse_shots(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdigit() or int(text) == 0:
        raise TuningError(f"--shots {text}: give a number of boxes, such as 1, 3, 5 or 10, or all")
    return int(text)


def read_splits(arguments: argparse.Namespace, settings: Settings) -> Splits:
    data = {name: read_coco(getattr(arguments, name), arguments.images) for name in ("train", "val", "test")}
    for name, of_split in data.items():
        tell(getattr(arguments, name), of_split.problems)
    check_same_categories(data)
    return Splits(
        train=draw_shots(data["train"], settings.shots, settings.seed),
        val=first_images(data["val"], settings.validation_images),
        test=data["test"],
    )


def tell(path: Path, problems: Sequence[Problem], shown: int = 20) -> None:
    """Names what of a file is left out, or looks wrong."""
    for problem in problems[:shown]:
        print(f"{path}: {'warning' if problem.kind == 'doubtful' else 'left out'}: {problem}", file=sys.stderr)
    if len(problems) > shown:
        print(f"{path}: ... and {len(problems) - shown} more", file=sys.stderr)


def tune(arguments: argparse.Namespace) -> dict:
    if (arguments.out / "result.json").exists() and not arguments.overwrite:
        raise TuningError(f"{arguments.out} has a result already: choose another folder, or give --overwrite")
    model = load_checkpoint(arguments.checkpoint, arguments.text_heads)
    settings = settings_of(arguments, model.recommended)
    splits = read_splits(arguments, settings)
    tokenizer = build_tokenizer(arguments.vocab or arguments.checkpoint.with_name("vocab.txt"))
    labels = splits.train.categories
    max_tokens = min(settings.max_tokens, model.config.text.max_positions)
    prompt = build_prompt(labels, read_categories(arguments.prompts, labels), tokenizer, max_tokens)
    tuner = Tuner(model, prompt, splits, settings, arguments.out, device=arguments.device)
    if arguments.overwrite:
        tuner.discard()
    return tuner.run()


def use_threads(count: int) -> None:
    if count < 1:
        raise TuningError(f"--threads {count} is not positive")
    torch.set_num_threads(count)
    with contextlib.suppress(ModuleNotFoundError):
        import numba

        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    # Denormals are a hundred times slower and mean nothing.
    torch.set_flush_denormal(True)
    try:
        use_threads(options.threads)
        result = tune(options)
    except (TuningError, CheckpointError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    before, after = result["before"], result["after"]
    for split in ("val", "test"):
        print(f"{split}: AP {before[split]['AP']:.3f} -> {after[split]['AP']:.3f}, epoch {result['best_epoch']}")
    print(f"wrote {options.out / METHODS[options.method].file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
