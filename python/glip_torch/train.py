"""Trains a small GLIP on rendered scenes: `python -m glip_torch.train OUT --minutes 85`.

Plain data-parallel PyTorch: one single-threaded process per CPU core averages gradients with the others. (With layers this
small, that beats one process with many threads.) Scenes are rendered as they are needed, so no scene is seen twice. The run
can be stopped at any time: started again with the same arguments, it goes on from OUT/state.pt as if it had never stopped.

OUT/state.pt     everything to go on from
OUT/model.pth    the averaged (EMA) weights as an official-format checkpoint; read with `load_checkpoint(..., text_heads=4)`
OUT/vocab.txt    the vocabulary
OUT/log.jsonl    one JSON object every few steps
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .checkpoint import save_checkpoint
from .config import NANO, STRIDES, level_sizes
from .data.batches import Batch, SceneBatches
from .head import HeadOutput
from .losses import assign_anchors, grounding_losses
from .model import GLIP
from .postprocess import anchors_for
from .probes import AttributeProbes
from .tokenizer import build_tokenizer, nano_vocabulary

#: Curriculum: from this share of the run on, scenes have this short side, and a process takes so many of them a step.
#: Small scenes cost a quarter and teach words, colours and shapes just as well.
STAGES = ((0.0, 128, 8), (0.5, 192, 8), (0.8, 256, 8))
LEARNING_RATE = 1e-3
FINAL_LEARNING_RATE = 1e-5
WARM_UP_STEPS = 200
WEIGHT_DECAY = 0.05
GRADIENT_CLIP = 1.0
EMA_DECAY = 0.999
#: Weight of the attribute probes' loss at the start; it falls to zero by the end.
PROBE_WEIGHT = 2.0
LOG_EVERY = 20


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the run; one that exists is resumed")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--steps", type=int, help="length of the run in steps: exactly reproducible")
    budget.add_argument("--minutes", type=float, help="length of the run in minutes of training, whatever the machine")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="data-parallel processes (default: CPU cores)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--no-fusion", action="store_true", help="words and image meet in the head only, as in GLIP-T (A)"
    )
    parser.add_argument("--save-minutes", type=float, default=4.0, help="time between checkpoints")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    # A file in OUT is where the processes meet; one left by a killed run would be a false start.
    meeting = arguments.out / "processes"
    meeting.unlink(missing_ok=True)
    # Read when the processes import their libraries, so it cannot wait until they run.
    # malloc keeps its memory and asks for huge pages: fresh pages for every tensor are a tenth of a step.
    os.environ.update(
        OMP_NUM_THREADS="1",
        NUMBA_NUM_THREADS="1",
        GLIBC_TUNABLES="glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432"
        ":glibc.malloc.trim_threshold=4000000000:glibc.malloc.top_pad=67108864",
    )
    torch.multiprocessing.spawn(_run_process, (arguments, meeting), nprocs=arguments.processes)


def _run_process(rank: int, arguments: argparse.Namespace, meeting: Path) -> None:
    torch.set_num_threads(1)
    # Denormals, common in half-trained attention, are a hundred times slower and mean nothing.
    torch.set_flush_denormal(True)
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting.resolve()}", rank=rank, world_size=arguments.processes
    )
    Trainer(arguments, rank).run()
    dist.destroy_process_group()


class Trainer:
    def __init__(self, arguments: argparse.Namespace, rank: int):
        self.arguments, self.rank = arguments, rank
        vocabulary = nano_vocabulary()
        self.tokenizer = build_tokenizer(vocabulary)
        # Every process draws the same weights.
        torch.manual_seed(arguments.seed)
        self.model = GLIP(
            replace(
                NANO,
                text=replace(NANO.text, vocab_size=len(vocabulary)),
                fusion=None if arguments.no_fusion else NANO.fusion,
            )
        )
        initialise(self.model)
        self.model.train()
        self.probes = AttributeProbes(NANO.channels, stages=1 + NANO.tower_layers)
        self.trained = nn.ModuleList([self.model, self.probes])
        self.average = EMA(self.model)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.trained), lr=LEARNING_RATE, betas=(0.9, 0.99), foreach=True
        )
        self.step, self.seconds = 0, 0.0
        self.state_file = arguments.out / "state.pt"
        if self.state_file.exists():
            self._resume()
        if rank == 0:
            (arguments.out / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
            # Open as long as the process: what was logged is on disk line by line.
            self.log_file = (arguments.out / "log.jsonl").open("a", encoding="utf-8")

    def run(self) -> None:
        started, saved = time.monotonic() - self.seconds, time.monotonic()
        window = [self.step, self.seconds]
        while (progress := self._progress()) < 1:
            short_side, size = stage(progress)
            rate = learning_rate(self.step, progress)
            losses = self._step(progress, short_side, size, rate)
            self.step += 1
            self.seconds = time.monotonic() - started
            if self.rank == 0 and self.step % LOG_EVERY == 0:
                speed = (self.step - window[0]) * size * self.arguments.processes / (self.seconds - window[1])
                window = [self.step, self.seconds]
                self._log(progress, short_side, rate, losses, speed)
            if self.rank == 0 and time.monotonic() - saved > self.arguments.save_minutes * 60:
                self._save()
                saved = time.monotonic()
        if self.rank == 0:
            self._save()

    def _progress(self) -> float:
        """Share of the run that is done, the same in all processes."""
        if self.arguments.steps is not None:
            return self.step / self.arguments.steps
        progress = torch.tensor(self.seconds / (self.arguments.minutes * 60))
        dist.broadcast(progress, 0)
        return float(progress)

    def _step(self, progress: float, short_side: int, size: int, rate: float) -> dict[str, float]:
        batches = SceneBatches(self.tokenizer, self.arguments.seed, size, self.rank, self.arguments.processes)
        batch = batches.load(self.step, short_side, simple_share(progress))
        sizes = level_sizes(*batch.pixels.shape[2:])
        anchors = anchors_for(sizes, STRIDES, self.model.config.anchor_sizes)
        counts = [height * width for height, width in sizes]

        stages, output = forward_stages(self.model, batch)
        losses = grounding_losses(output, batch.attention_mask, anchors, counts, batch.targets, shared_target=False)
        assigned = assign_anchors(anchors, counts, batch.targets.boxes, batch.present)
        probes = self.probes(stages, assigned, batch.attributes)

        self.optimizer.zero_grad()
        (losses.total + PROBE_WEIGHT * (1 - progress) * probes).backward()
        average_gradients(self.trained, self.arguments.processes)
        nn.utils.clip_grad_norm_(self.trained.parameters(), GRADIENT_CLIP)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.average.update(self.model, self.step)
        parts = {"token": losses.token, "box": losses.box, "centerness": losses.centerness, "probes": probes}
        return {name: loss.item() for name, loss in parts.items()}

    def _log(self, progress: float, short_side: int, rate: float, losses: dict[str, float], speed: float) -> None:
        record = {
            "step": self.step,
            "minutes": round(self.seconds / 60, 2),
            "progress": round(progress, 4),
            "short_side": short_side,
            "learning_rate": round(rate, 7),
            **{name: round(loss, 4) for name, loss in losses.items()},
            "scenes_per_second": round(speed, 1),
        }
        print(json.dumps(record), file=self.log_file, flush=True)
        print(" ".join(f"{name} {value}" for name, value in record.items()), flush=True)

    def _save(self) -> None:
        state = {
            "trained": self.trained.state_dict(),
            "average": self.average.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        partial = self.state_file.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.state_file)
        save_checkpoint(self.average.model, self.arguments.out / "model.pth")

    def _resume(self) -> None:
        state = torch.load(self.state_file, weights_only=True)
        self.trained.load_state_dict(state["trained"])
        self.average.model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]


class EMA:
    """An exponential moving average of the weights: what is evaluated and exported."""

    def __init__(self, model: GLIP):
        self.model = GLIP(model.config).eval().requires_grad_(False)
        self.model.load_state_dict(model.state_dict())

    @torch.no_grad()
    def update(self, model: GLIP, step: int) -> None:
        # A shorter memory at first, or the random initial weights would linger.
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)


def forward_stages(model: GLIP, batch: Batch) -> tuple[list[list[Tensor]], HeadOutput]:
    """`GLIP.forward`, with the levels of the pyramid and after each tower layer."""
    levels = model.image_encoder(batch.pixels)
    hidden, _ = model.text_encoder(batch.input_ids, batch.attention_mask)
    stages = [levels]
    for layer in model.tower.layers:
        levels, hidden = layer(levels, hidden, batch.attention_mask)
        stages.append(levels)
    return stages, model.head(levels, hidden)


def initialise(model: GLIP) -> None:
    """Initial weights for training from scratch in few steps, where the modules' own suit fine-tuning."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            # Every scene is new: there is nothing to over-fit.
            module.p = 0.0
    for module in model.image_encoder.swin.modules():
        if isinstance(module, nn.Linear):
            # The usual standard deviation of 0.02 is for width 96 and up; narrow layers need more to pass a signal on.
            nn.init.xavier_uniform_(module.weight)
    # The words must stay apart on their way through the text layers, or the tower learns to find objects and stops
    # listening: BERT's layers keep their small weights, word embeddings outweigh positions, what the image adds is faint.
    nn.init.normal_(model.text_encoder.bert.embeddings.word_embeddings.weight, std=0.05)
    for layer in model.tower.layers:
        if layer.fusion is not None:
            nn.init.constant_(layer.fusion.gamma_v, 0.1)
            nn.init.constant_(layer.fusion.gamma_l, 0.1)
    # The tower has no residuals: it starts as nearly the identity (own cell, both signs), and so do the pyramid's outputs, or
    # a random network would forget the colours on the way.
    for layer in model.tower.layers:
        _add_identity(layer.dyconv.own.conv)
        lower_slope = layer.dyconv.activation.fc2.bias.chunk(4)[2]
        nn.init.constant_(lower_slope, 0.75)
    for conv in model.image_encoder.fpn.output:
        conv.weight.data *= 0.3
        _add_identity(conv)
    # Starts the logits with a spread of about one that is due to the words alone.
    nn.init.normal_(model.head.dot_product_projection_text.weight, std=1.0)
    nn.init.zeros_(model.head.dot_product_projection_text.bias)


def _add_identity(conv: nn.Conv2d) -> None:
    conv.weight.data[:, :, 1, 1] += torch.eye(len(conv.weight))


def parameter_groups(model: nn.Module) -> list[dict]:
    """Weight decay on matrices only: biases, gains and norms keep their scale."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]


def stage(progress: float) -> tuple[int, int]:
    """Short side of the scenes and their number per process and step."""
    return [(short_side, size) for begin, short_side, size in STAGES if progress >= begin][-1]


def simple_share(progress: float) -> float:
    """Share of prompts that are lists of single attributes: the words first, then what they mean together."""
    return max(0.15, 1 - progress / 0.15)


def learning_rate(step: int, progress: float) -> float:
    """Linear warm-up, then a half cosine over the whole run."""
    cosine = FINAL_LEARNING_RATE + (LEARNING_RATE - FINAL_LEARNING_RATE) * (1 + math.cos(math.pi * progress)) / 2
    return cosine * min(1.0, (step + 1) / WARM_UP_STEPS)


def average_gradients(model: nn.Module, processes: int) -> None:
    """Averages gradients over the processes, as one message."""
    if processes == 1:
        return
    gradients: list[Tensor] = [p.grad for p in model.parameters() if p.grad is not None]
    message = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(message)
    message /= processes
    for gradient, piece in zip(gradients, message.split([gradient.numel() for gradient in gradients])):
        gradient.copy_(piece.view_as(gradient))


if __name__ == "__main__":
    main()
