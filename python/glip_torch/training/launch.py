"""Processes of a run: started here on one machine, or by `torchrun` or `accelerate launch` on many.

On a CPU: with layers as small as glip-nano's, one single-threaded process a core beats one process with many threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

#: malloc keeps its memory and asks for huge pages: fresh pages for every tensor are a tenth of a step. Read when a process
#: starts, so it cannot wait until it runs.
ENVIRONMENT = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432"
    ":glibc.malloc.trim_threshold=4000000000:glibc.malloc.top_pad=67108864",
}


def is_launched() -> bool:
    """Whether a launcher has started this process as one of a run."""
    return "RANK" in os.environ or "ACCELERATE_MIXED_PRECISION" in os.environ


def launch(run: Callable, arguments: object, out: Path, processes: int, threads: int, cpu: bool) -> None:
    """Calls `run(arguments)` in so many processes that find each other, and waits for them."""
    if is_launched():
        run(arguments)
        return
    # A file in OUT is where the processes meet; one left by a killed run would be a false start.
    meeting = out / "processes"
    meeting.unlink(missing_ok=True)
    # Read when the processes import their libraries.
    os.environ.update(ENVIRONMENT, OMP_NUM_THREADS=str(threads), NUMBA_NUM_THREADS=str(threads))
    torch.multiprocessing.spawn(_process, (run, arguments, meeting, processes, threads, cpu), nprocs=processes)


def _process(
    rank: int, run: Callable, arguments: object, meeting: Path, processes: int, threads: int, cpu: bool
) -> None:
    torch.set_num_threads(threads)
    # Denormals, common in half-trained attention, are a hundred times slower and mean nothing.
    torch.set_flush_denormal(True)
    if processes > 1:
        if not cpu:
            torch.cuda.set_device(rank)
        names = ("RANK", "LOCAL_RANK"), ("WORLD_SIZE", "LOCAL_WORLD_SIZE")
        for group, value in zip(names, (rank, processes)):
            os.environ.update(dict.fromkeys(group, str(value)))
        dist.init_process_group(
            "gloo" if cpu else "nccl", init_method=f"file://{meeting.resolve()}", rank=rank, world_size=processes
        )
    run(arguments)
    if processes > 1:
        dist.destroy_process_group()
