"""The model in PyTorch, eager or compiled: from pixels in host memory to the head's outputs there."""

from __future__ import annotations

import torch
from torch import Tensor

from ..full_size.family import TorchContender
from ..full_size.stopwatch import Stopwatch
from .contender import Task, main


def prepare(task: Task):
    # Float32 is float32 here as it is in the other contenders.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    element = {"fp32": torch.float32, "fp16": torch.float16}[task.precision]
    family = task.subject.family
    pixels = torch.from_numpy(task.pixels())
    contender = family.contender(task.kind, family.load(task.checkpoint), pixels)
    contender.model.to(task.device, element).eval()
    if task.compiled:
        for module in contender.called():
            module.compile()
    prompts = {name: torch.from_numpy(values) for name, values in task.prompts().items()}
    return lambda: _ground(contender, pixels, prompts, task, element)


@torch.inference_mode()
def _ground(
    contender: TorchContender, pixels: Tensor, prompts: dict[str, Tensor], task: Task, element: torch.dtype
) -> None:
    contender.pixels = pixels.to(task.device, element)
    contender.ground({name: values.to(task.device) for name, values in prompts.items()}, Stopwatch())
    for name in ("logits", "deltas", "centerness", "boxes"):
        if name in contender.outputs:
            contender.outputs[name].float().cpu()  # a copy to the host waits for the GPU


if __name__ == "__main__":
    main(prepare)
