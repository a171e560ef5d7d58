"""GLIP in PyTorch, eager: from pixels in host memory to the head's outputs there."""

from __future__ import annotations

import torch
from torch import Tensor

from glip_torch.checkpoint import load_checkpoint

from ..full_size.glip.official import make_official, pad_text
from .contender import Task, main


def prepare(task: Task):
    # Float32 is float32 here as it is in the other contenders.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    element = {"fp32": torch.float32, "fp16": torch.float16}[task.precision]
    model = load_checkpoint(task.checkpoint, task.text_heads)
    if task.official:
        make_official(model)
    model = model.to(task.device, element).eval()
    pixels = torch.from_numpy(task.pixels())
    ids = torch.from_numpy(task.input_ids())

    return lambda: _ground(model, pixels, ids, task, element)


@torch.inference_mode()
def _ground(model, pixels: Tensor, ids: Tensor, task: Task, element: torch.dtype) -> None:
    mask = torch.ones_like(ids)
    if task.official:
        ids, mask = pad_text(ids, mask)
    output = model(pixels.to(task.device, element), ids.to(task.device), mask.to(task.device))
    for tensor in (output.logits, output.deltas, output.centerness):
        tensor.float().cpu()  # a copy to the host waits for the GPU


if __name__ == "__main__":
    main(prepare)
