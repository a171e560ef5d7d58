"""A model in PyTorch, eager."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .family import TorchContender
from .models import MODELS
from .stopwatch import PEAK_SIZE, Stopwatch, matrix_product_peak
from .worker import peak_memory, serve


def timed(run: Callable[[dict[str, Tensor], Stopwatch], None], prompt: str) -> dict:
    tensors = {name: torch.from_numpy(array) for name, array in np.load(prompt).items()}
    clock = Stopwatch()
    run(tensors, clock)
    return clock.answer()


def save(contender: TorchContender, path: str) -> dict:
    """Writes the last run's outputs, for comparison."""
    np.savez(path, **{name: tensor.numpy() for name, tensor in contender.outputs.items()})
    return {}


def peak() -> dict:
    a, b = torch.randn(PEAK_SIZE, PEAK_SIZE), torch.randn(PEAK_SIZE, PEAK_SIZE)
    return matrix_product_peak(lambda: torch.mm(a, b))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--kind", required=True, help="which of its family's contenders")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--pixels", required=True, help=".npy of [1, 3, height, width]")
    parser.add_argument("--threads", type=int, default=0, help="0: PyTorch's default")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    family = MODELS[arguments.model].family
    start = time.perf_counter()
    model = family.load(arguments.checkpoint)
    contender = family.contender(arguments.kind, model, torch.from_numpy(np.load(arguments.pixels)))
    loaded = {"load_seconds": time.perf_counter() - start, "threads": torch.get_num_threads()}
    handlers = {
        "ground": lambda prompt: timed(contender.ground, prompt),
        "prompt": lambda prompt: timed(contender.prompt, prompt),
        "save": lambda path: save(contender, path),
        "peak": peak,
        "memory": peak_memory,
    }
    with torch.inference_mode():
        serve(loaded, handlers)


if __name__ == "__main__":
    main()
