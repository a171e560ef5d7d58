"""What the device spends its time on, kernel by kernel.

PyTorch's profiler listens to CUDA itself, so that it hears the kernels of ONNX Runtime too if that runs in its process.
It slows down launches: times of kernels are right, those of calls are not.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile


def kernels(run: Callable[[], None], runs: int) -> dict[str, dict[str, float]]:
    """Milliseconds and launches of one run, by the kernel's name, the longest first."""
    torch.zeros(1, device="cuda")  # so that PyTorch is there before it listens
    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        for _ in range(runs):
            run()
    found = defaultdict(lambda: {"ms": 0.0, "launches": 0.0})
    for event in recorded.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            kernel = found[_short(event.name)]
            kernel["ms"] += event.device_time_total / 1e3 / runs
            kernel["launches"] += 1 / runs
    return dict(sorted(found.items(), key=lambda item: -item[1]["ms"]))


def _short(name: str) -> str:
    """Without template arguments and the names of namespaces that all have."""
    return re.sub(r"<.*|^void |onnxruntime::|cuda::|\(anonymous namespace\)::", "", name)[:60]
