"""GLIP in PyTorch, eager: the official maths, or the same with this project's forms."""

from __future__ import annotations

import argparse
import time
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from glip_torch.checkpoint import load_checkpoint
from glip_torch.head import HeadOutput

from .official import make_official, pad_text
from .stopwatch import PEAK_SIZE, Stopwatch, matrix_product_peak
from .worker import peak_memory, serve


class Contender:
    def __init__(self, arguments: argparse.Namespace):
        self.official = arguments.official
        self.model = load_checkpoint(arguments.checkpoint, arguments.text_heads)
        if self.official:
            make_official(self.model)
        self.pixels = torch.from_numpy(np.load(arguments.pixels))
        self.pyramid: list[Tensor] = []
        self.outputs: dict[str, np.ndarray] = {}

    def ground(self, ids: list[int]) -> dict:
        """One image and one prompt, from start to end."""
        clock = Stopwatch()
        with clock("whole"):
            with clock("image_encoder"):
                self.pyramid = self.model.image_encoder(self.pixels)
            self._read(ids, clock, dyconv=True)
        return clock.answer()

    def prompt(self, ids: list[int]) -> dict:
        """What depends on the prompt's length: all but the image encoder and DyConv."""
        clock = Stopwatch()
        self._read(ids, clock, dyconv=False)
        return clock.answer()

    def _read(self, ids: list[int], clock: Stopwatch, dyconv: bool) -> None:
        ids_tensor = torch.tensor([ids])
        mask = torch.ones_like(ids_tensor)
        if self.official:
            ids_tensor, mask = pad_text(ids_tensor, mask)
        with clock("text_encoder"):
            text, _ = self.model.text_encoder(ids_tensor, mask)
        levels = self.pyramid
        with clock("fusion"):
            for layer in self.model.tower.layers:
                with clock("bi_attention"):
                    levels, text = layer.fusion(levels, text, mask)
                with clock("text_layers") if layer.text_layer else nullcontext():
                    text = layer.text_layer(text, mask) if layer.text_layer else text
                if dyconv:
                    with clock("dyconv"):
                        levels = layer.dyconv(levels)
        with clock("head"):
            output = self.model.head(levels, text)
        self._keep(levels, text, output, len(ids))

    def _keep(self, levels: list[Tensor], text: Tensor, output: HeadOutput, tokens: int) -> None:
        """Without padding."""
        named = {f"fused_{index}": level for index, level in enumerate(levels)}
        named |= {"fused_text": text[:, :tokens], "logits": output.logits[..., :tokens]}
        named |= {"deltas": output.deltas, "centerness": output.centerness}
        self.outputs = {name: tensor.numpy() for name, tensor in named.items()}

    def save(self, path: str) -> dict:
        """Writes the last run's outputs, for comparison."""
        np.savez(path, **self.outputs)
        return {}


def peak() -> dict:
    a, b = torch.randn(PEAK_SIZE, PEAK_SIZE), torch.randn(PEAK_SIZE, PEAK_SIZE)
    return matrix_product_peak(lambda: torch.mm(a, b))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--text-heads", type=int, required=True)
    parser.add_argument("--pixels", required=True, help=".npy of [1, 3, height, width]")
    parser.add_argument("--official", action="store_true")
    parser.add_argument("--threads", type=int, default=0, help="0: PyTorch's default")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    start = time.perf_counter()
    contender = Contender(arguments)
    loaded = {"load_seconds": time.perf_counter() - start, "threads": torch.get_num_threads()}
    handlers = {
        "ground": contender.ground,
        "prompt": contender.prompt,
        "save": contender.save,
        "peak": peak,
        "memory": peak_memory,
    }
    with torch.inference_mode():
        serve(loaded, handlers)


if __name__ == "__main__":
    main()
