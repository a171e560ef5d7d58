"""What is compared, made once and kept: a checkpoint, its bundle, a straight export, the timing program."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from glip_torch.checkpoint import load_checkpoint, save_checkpoint
from glip_torch.config import GLIP_T, NANO, STRIDES, GLIPConfig
from glip_torch.model import GLIP
from glip_torch.tokenizer import nano_vocabulary

from .worker import REPOSITORY

SEED = 0
OPSET = 22
PACKAGE = REPOSITORY / "python/glip_torch"
#: The timing program, and the words that its prompts are made of.
PROGRAM = "workloads"
PROGRAM_WORDS = REPOSITORY / "benches/workloads/subject.rs"


@dataclass(frozen=True)
class ModelSize:
    config: GLIPConfig
    height: int
    width: int


MODEL_SIZES = {
    "glip-t": ModelSize(GLIP_T, 800, 1248),
    # To try the benchmark itself in a minute.
    "small": ModelSize(replace(NANO, text=replace(NANO.text, vocab_size=4096)), 256, 384),
}


@dataclass(frozen=True)
class Subject:
    """Files that the contenders load."""

    checkpoint: Path
    config: GLIPConfig
    bundle: Path
    straight: Path
    pixels: Path
    program: Path


def prepare(size: ModelSize, folder: Path, bundle: Path | None, checkpoint: Path | None) -> Subject:
    """Makes what is missing in `folder`; a bundle of one's own comes with the checkpoint that it was exported from."""
    folder.mkdir(parents=True, exist_ok=True)
    config = size.config
    checkpoint = checkpoint or make_checkpoint(folder, config)
    bundle = bundle or make_bundle(folder / "bundle", checkpoint, config)
    straight = folder / "image_encoder.straight.onnx"
    inputs = [checkpoint, PACKAGE / "image_encoder.py"]
    make(straight, inputs, lambda path: export_straight(load_checkpoint(checkpoint, config.text.heads), path))
    pixels = folder / "pixels.npy"
    np.save(pixels, np.random.default_rng(SEED).standard_normal((1, 3, size.height, size.width), dtype=np.float32))
    return Subject(checkpoint, config, bundle, straight, pixels, build_program())


def make(target: Path, inputs: list[Path], build: Callable[[Path], None]) -> None:
    """Builds the target unless it is there and newer than its inputs."""
    if target.exists() and all(path.stat().st_mtime <= target.stat().st_mtime for path in inputs):
        return
    print(f"making {target.relative_to(REPOSITORY) if target.is_relative_to(REPOSITORY) else target}", flush=True)
    # So that what an interruption left half-written is not taken for the whole.
    partial = target.with_name(target.name + ".partial")
    build(partial)
    partial.replace(target)


def make_checkpoint(folder: Path, config: GLIPConfig) -> Path:
    """With random weights: time does not depend on what they are."""
    path = folder / "model.pth"
    make(path, [], lambda partial: random_checkpoint(config, partial))
    return path


def make_bundle(bundle: Path, checkpoint: Path, config: GLIPConfig, *choices: str) -> Path:
    """The checkpoint exported with these choices, and a vocabulary beside it."""
    vocabulary = bundle.with_name("vocab.txt")
    make(vocabulary, [PROGRAM_WORDS], lambda partial: write_vocabulary(config.text.vocab_size, partial))
    inputs = [checkpoint, vocabulary, *PACKAGE.glob("*.py"), *(PACKAGE / "export").glob("*.py")]
    done = bundle.with_name(f"{bundle.name}.exported")
    make(done, inputs, lambda partial: export(checkpoint, config, vocabulary, bundle, partial, choices))
    return bundle


def random_checkpoint(config: GLIPConfig, path: Path) -> None:
    torch.manual_seed(SEED)
    save_checkpoint(GLIP(config), path)


def write_vocabulary(size: int, path: Path) -> None:
    """Letters, the words of the timing program's prompts, and made-up words up to the model's vocabulary size.

    As in BERT's own vocabulary, everyday words are one token each.
    """
    words = sorted(set(re.findall(r'"([a-z]+)"', PROGRAM_WORDS.read_text(encoding="utf-8"))))
    tokens = dict.fromkeys([*nano_vocabulary(), *words])
    syllables = ["".join(letters) for letters in product("bdfgklmnprstvz", "aeiou")]
    made_up = ("".join(parts) for parts in product(syllables, repeat=3))
    filler = islice((word for word in made_up if word not in tokens), size - len(tokens))
    path.write_text("\n".join([*tokens, *filler]) + "\n", encoding="utf-8")


def export(
    checkpoint: Path, config: GLIPConfig, vocabulary: Path, bundle: Path, done: Path, choices: tuple[str, ...]
) -> None:
    options = ["--vocab", vocabulary, "--text-heads", config.text.heads, "--source", f"random, seed {SEED}"]
    options += choices
    command = [sys.executable, "-m", "glip_torch.export", checkpoint, bundle, "--overwrite", *options]
    subprocess.run(list(map(str, command)), check=True)
    done.touch()


def export_straight(model: GLIP, path: Path) -> None:
    """The image encoder as PyTorch's exporter writes it, without any of this project's work on graphs."""
    height, width = (STRIDES[2] * torch.export.Dim(f"{side}_blocks", min=1) for side in ("height", "width"))
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            model.image_encoder,
            (torch.randn(3, 3, 160, 224),),
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC, 2: height, 3: width},),
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )
        exported = torch.onnx.export(program, opset_version=OPSET, dynamo=True, input_names=["pixels"])
    onnx.save(exported.model_proto, path)


def build_program(features: str = "") -> Path:
    """The timing program's executable."""
    print(f"building the timing program ({PROGRAM})", flush=True)
    command = ["cargo", "bench", "--bench", PROGRAM, "--features", features, "--no-run", "--message-format", "json"]
    built = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    messages = map(json.loads, built.stdout.splitlines())
    return next(
        Path(message["executable"])
        for message in messages
        if message.get("target", {}).get("name") == PROGRAM and message.get("executable")
    )


def runtime_library() -> Path:
    """The library inside the Python package, for the crate to load the very same."""
    folder = Path(onnxruntime.__file__).parent / "capi"
    found = sorted(path for path in folder.iterdir() if re.match(r"libonnxruntime\.(so|.*dylib)", path.name))
    if not found:
        raise FileNotFoundError(f"no libonnxruntime in {folder}: this benchmark runs on Linux and macOS")
    return found[0]
