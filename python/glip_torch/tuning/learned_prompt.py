"""A learned prompt as a file: what the text encoder would say, tuned, and which tokens mean what.

A `.safetensors` file that replaces the text encoder for one prompt and one model.

- Tensors: `hidden` and `embedded`, float32 `[tokens, width]`; `attention_mask`, int64 `[tokens]`, all ones.
- Metadata: `format`, `format_version`, `model` (the fingerprint of the model it belongs to), `text`, and `phrases`, a JSON
  list of `{label, index, text, spans, tokens}` with spans in bytes of the UTF-8 text. Other entries say how it was made.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from ..atomic import written
from . import TuningError
from .phrases import Phrase, TuningPrompt

FORMAT, FORMAT_VERSION = "glip-learned-prompt", "1"


@dataclass(frozen=True)
class LearnedPrompt:
    hidden: Tensor  #: `[tokens, width]`
    embedded: Tensor  #: `[tokens, width]`
    attention_mask: Tensor  #: `[tokens]`
    text: str
    phrases: tuple[Phrase, ...]
    #: Fingerprint of the model that it was learned with.
    model: str


def write_learned_prompt(
    path: Path, prompt: TuningPrompt, hidden: Tensor, embedded: Tensor, model: str, notes: dict[str, str] | None = None
) -> None:
    """Writes the file, whole or not at all; `notes` are further metadata."""
    tensors = {
        "hidden": hidden.detach().float().cpu().clone(),
        "embedded": embedded.detach().float().cpu().clone(),
        "attention_mask": torch.ones(len(hidden), dtype=torch.int64),
    }
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise TuningError(f"the learned {name} has values that are not finite: tune with a lower learning rate")
    metadata = {
        **(notes or {}),
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": model,
        "text": prompt.text,
        "phrases": json.dumps([_entry(prompt.text, n, phrase) for n, phrase in enumerate(prompt.phrases)]),
    }
    with written(path) as partial:
        partial.write_bytes(save(tensors, metadata))


def _entry(text: str, index: int, phrase: Phrase) -> dict:
    span = [len(text[:place].encode()) for place in phrase.span]
    return {
        "label": phrase.label,
        "index": index,
        "text": phrase.text,
        "spans": [span],
        "tokens": list(phrase.tokens),
    }


def read_learned_prompt(path: Path) -> LearnedPrompt:
    """Reads what `write_learned_prompt` wrote; raises `TuningError` if it is something else."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except (OSError, safetensors.SafetensorError) as error:
        raise TuningError(f"{path} cannot be read as safetensors: {error}") from None
    if (metadata.get("format"), metadata.get("format_version")) != (FORMAT, FORMAT_VERSION):
        raise TuningError(f"{path} is no learned prompt of version {FORMAT_VERSION}")
    text = metadata["text"]
    phrases = tuple(
        Phrase(entry["label"], entry["text"], _characters(text, *entry["spans"][0]), tuple(entry["tokens"]))
        for entry in json.loads(metadata["phrases"])
    )
    return LearnedPrompt(
        tensors["hidden"], tensors["embedded"], tensors["attention_mask"], text, phrases, metadata["model"]
    )


def _characters(text: str, begin: int, end: int) -> tuple[int, int]:
    encoded = text.encode()
    return len(encoded[:begin].decode()), len(encoded[:end].decode())
