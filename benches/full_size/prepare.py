"""What is compared, made once and kept: a checkpoint, its bundle, a straight export, the timing program."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from glip_torch.export.__main__ import export_bundle
from glip_torch.export.bundle import BundleOptions
from glip_torch.tokenizer import build_tokenizer, nano_vocabulary

from .family import Family
from .models import Model
from .worker import REPOSITORY

SEED = 0
PACKAGE = REPOSITORY / "python/glip_torch"
#: The timing program, and the words that its prompts are made of.
PROGRAM = "workloads"
PROGRAM_WORDS = REPOSITORY / "benches/workloads/subject.rs"


@dataclass(frozen=True)
class Subject:
    """Files that the contenders load."""

    checkpoint: Path
    bundle: Path
    #: The straight export of the image encoder, of families that compare it.
    straight: Path | None
    pixels: Path
    #: By number of tokens.
    prompts: dict[int, Path]
    program: Path


def prepare(model: Model, tokens: list[int], folder: Path, bundle: Path | None, checkpoint: Path | None) -> Subject:
    """Makes what is missing in `folder`; a bundle of one's own comes with the checkpoint that it was exported from."""
    folder.mkdir(parents=True, exist_ok=True)
    family = model.family
    checkpoint = checkpoint or make_checkpoint(folder, family)
    bundle = bundle or make_bundle(folder / "bundle", checkpoint, family)
    straight = folder / "image_encoder.straight.onnx" if family.compares_straight_export else None
    if straight is not None:
        inputs = [checkpoint, PACKAGE / "image_encoder.py"]
        make(straight, inputs, lambda path: family.export_straight(family.load(checkpoint), path))
    pixels = folder / "pixels.npy"
    shape = (1, 3, model.height, model.width)
    np.save(pixels, np.random.default_rng(SEED).standard_normal(shape, dtype=np.float32))
    prompts = {count: folder / f"prompt.{count}.npz" for count in tokens}
    for count, path in prompts.items():
        np.savez(path, **family.prompt(count))
    return Subject(checkpoint, bundle, straight, pixels, prompts, build_program())


def make(target: Path, inputs: list[Path], build: Callable[[Path], None]) -> None:
    """Builds the target unless it is there and newer than its inputs."""
    if target.exists() and all(path.stat().st_mtime <= target.stat().st_mtime for path in inputs):
        return
    print(f"making {target.relative_to(REPOSITORY) if target.is_relative_to(REPOSITORY) else target}", flush=True)
    # So that what an interruption left half-written is not taken for the whole.
    partial = target.with_name(target.name + ".partial")
    build(partial)
    partial.replace(target)


def make_checkpoint(folder: Path, family: Family) -> Path:
    """With random weights: time does not depend on what they are."""
    path = folder / "checkpoint"
    make(path, [], lambda partial: family.save(random_model(family), partial))
    return path


def random_model(family: Family) -> torch.nn.Module:
    torch.manual_seed(SEED)
    model = family.random()
    # Without biases, what sees nothing but padding and masks gives subnormal numbers, with which some processors calculate
    # slowly. Trained weights have biases.
    for name, parameter in model.named_parameters():
        if name.endswith("bias") and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def make_bundle(bundle: Path, checkpoint: Path, family: Family, precision: str = "fp32", device: str = "cpu") -> Path:
    """The checkpoint exported so, with a vocabulary that is made for it."""
    vocabulary = bundle.with_name("vocab.txt")
    make(vocabulary, [PROGRAM_WORDS], lambda partial: write_vocabulary(family, partial))
    options = BundleOptions(name=bundle.name, precision=precision, device=device, weights=f"random, seed {SEED}")

    def export(done: Path) -> None:
        export_bundle(family.load(checkpoint), build_tokenizer(vocabulary), bundle, options, overwrite=True)
        done.touch()

    inputs = [checkpoint, vocabulary, *PACKAGE.glob("*.py"), *(PACKAGE / "export").rglob("*.py")]
    make(bundle.with_name(f"{bundle.name}.exported"), inputs, export)
    return bundle


def write_vocabulary(family: Family, path: Path) -> None:
    """Letters, the words of the timing program's prompts, and made-up words up to the model's vocabulary size.

    As in BERT's own vocabulary, everyday words are one token each.
    """
    words = sorted(set(re.findall(r'"([a-z]+)"', PROGRAM_WORDS.read_text(encoding="utf-8"))))
    tokens = dict.fromkeys([*nano_vocabulary(), *words])
    syllables = ["".join(letters) for letters in product("bdfgklmnprstvz", "aeiou")]
    made_up = ("".join(parts) for parts in product(syllables, repeat=3))
    placed = family.special_tokens
    tokens = [token for token in tokens if token not in placed.values()]
    filler = islice(
        (word for word in made_up if word not in tokens), family.vocabulary_size - len(tokens) - len(placed)
    )
    tokens += filler
    for index, token in sorted(placed.items()):
        tokens.insert(index, token)
    path.write_text("\n".join(tokens) + "\n", encoding="utf-8")


def build_program(features: str = "") -> Path:
    """The timing program's executable."""
    print(f"building the timing program ({PROGRAM})", flush=True)
    return built(PROGRAM, "bench", "--bench", PROGRAM, "--features", features)


def built(target: str, *command: str) -> Path:
    """The executable of a target of the crate that a command of cargo builds."""
    command = ["cargo", *command, "--no-run", "--message-format", "json"]
    output = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    messages = map(json.loads, output.stdout.splitlines())
    return next(
        Path(message["executable"])
        for message in messages
        if message.get("target", {}).get("name") == target and message.get("executable")
    )


def runtime_library() -> Path:
    """The library inside the Python package, for the crate to load the very same."""
    folder = Path(onnxruntime.__file__).parent / "capi"
    found = sorted(path for path in folder.iterdir() if re.match(r"libonnxruntime\.(so|.*dylib)", path.name))
    if not found:
        raise FileNotFoundError(f"no libonnxruntime in {folder}: this benchmark runs on Linux and macOS")
    return found[0]
