"""`python -m benches.gpu`: GLIP on a GPU, this crate against PyTorch and ONNX Runtime. Start it with benches/gpu.sh.

Random weights stand in for released ones: the time is the same. A time is that from pixels in host memory to the
head's outputs there, the median of several runs after some that are not counted. This crate's is that of a whole call:
from the image's bytes to boxes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import onnxruntime
import torch

from ..full_size.machine import commit, description
from ..full_size.models import MODELS
from ..full_size.prepare import build_program, make_bundle, make_checkpoint, runtime_library
from ..full_size.worker import REPOSITORY
from .contender import Task
from .report import Row, markdown

PRECISIONS = ("fp32", "fp16")
FEATURES = "cuda,tensorrt"


def arguments_of(command_line: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/gpu.sh", description=__doc__)
    parser.add_argument("--device", default="cuda:0", help="cuda:N, or cpu to try the steps; default: %(default)s")
    parser.add_argument("--small", action="store_true", help="a tiny model on small pictures, to try the steps")
    parser.add_argument("--checkpoint", type=Path, help="of a GLIP-T; default: random weights")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="default: 1 8")
    parser.add_argument("--tokens", type=int, default=10, help="of the prompt; default: %(default)s")
    parser.add_argument("--runs", type=int, default=20, help="that are counted; default: %(default)s")
    parser.add_argument("--warm-up", type=int, default=5, help="runs that are not; default: %(default)s")
    parser.add_argument(
        "--tensorrt", action="store_true", help="this crate on TensorRT too (the first run takes minutes)"
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY / "target/gpu/RESULTS.md", help="default: %(default)s")
    return parser.parse_args(command_line)


def main(command_line: list[str] | None = None) -> int:
    arguments = arguments_of(command_line)
    try:
        check(arguments)
        compare_with_cpu(arguments.device)
        rows = Benchmark(arguments).rows()
    except (BenchmarkError, OSError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    model = MODELS[model_of(arguments)]
    subject = (
        f"{model.family.config.variant}, {arguments.checkpoint or 'random weights'}, {model.height} x {model.width}, "
        f"{arguments.tokens} tokens, median of {arguments.runs} runs, no TF32, commit {commit()}"
    )
    text = markdown(rows, arguments.batches, [gpu(arguments.device), *description(), subject])
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(text, encoding="utf-8")
    print(f"\n{text}\nwritten to {arguments.out}")
    return int(any(row.failed for row in rows))


def model_of(arguments: argparse.Namespace) -> str:
    return "glip-small" if arguments.small else "glip-t"


class BenchmarkError(RuntimeError):
    """Something that the benchmark needs is missing or failed."""


def check(arguments: argparse.Namespace) -> None:
    """That everything is there, before minutes are spent."""
    if arguments.device == "cpu":
        return
    if not torch.cuda.is_available():
        raise BenchmarkError("PyTorch sees no GPU: install a build of it for CUDA that fits the driver")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise BenchmarkError(
            "ONNX Runtime has no CUDA: uninstall the package onnxruntime, then install onnxruntime-gpu[cuda,cudnn]"
        )


def compare_with_cpu(device: str) -> None:
    """That the crate computes the same on the device, on a small model, before anything is timed there."""
    print("testing the crate on the device", flush=True)
    model = Subject("glip-small").bundle("fp16")
    command = ["cargo", "test", "--release", "--features", FEATURES, "--test", "gpu", "--", "--ignored"]
    environment = {"ORT_DYLIB_PATH": str(runtime_library()), "GLIP_DEVICE": device, "GLIP_MODEL": str(model)}
    if subprocess.run(command, cwd=REPOSITORY, env=os.environ | environment, check=False).returncode != 0:
        print("warning: the crate's tests failed on the device, see above; times follow", file=sys.stderr)


class Subject:
    """A checkpoint and its bundles, made where they are missing."""

    def __init__(self, name: str, checkpoint: Path | None = None):
        self.model = MODELS[name]
        self.folder = REPOSITORY / "target/gpu" / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.checkpoint = checkpoint or make_checkpoint(self.folder, self.model.family)

    def bundle(self, precision: str) -> Path:
        return make_bundle(self.folder / precision, self.checkpoint, self.model.family, precision, device="gpu")


class Benchmark:
    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.subject = Subject(model_of(arguments), arguments.checkpoint)
        self.model = self.subject.model
        self.bundles = {precision: self.subject.bundle(precision) for precision in PRECISIONS}
        self.program = build_program(FEATURES)

    def rows(self) -> list[Row]:
        # Official's padding of scores is beyond what half precision holds.
        rows = [self._python("PyTorch eager, official form", "torch_contender", "fp32", official=True)]
        rows += [self._python("PyTorch eager, our forms", "torch_contender", p) for p in PRECISIONS]
        rows += [self._python("ONNX Runtime from Python", "onnx_contender", p) for p in PRECISIONS]
        rows += [self._crate("this crate", p) for p in PRECISIONS]
        if self.arguments.device != "cpu":
            rows += [self._crate("this crate, CUDA graphs", p, "--cuda-graphs") for p in PRECISIONS]
        if self.arguments.tensorrt:
            cache = ["--tensorrt-cache", str(self.subject.folder / "tensorrt")]
            device = self.arguments.device.replace("cuda", "tensorrt")
            rows += [self._crate("this crate, TensorRT", p, "--device", device, *cache) for p in PRECISIONS]
        return rows

    def _python(self, name: str, module: str, precision: str, official: bool = False) -> Row:
        row = Row(name, precision)
        for batch in self.arguments.batches:
            task = Task(
                device=self.arguments.device,
                precision=precision,
                official=official,
                checkpoint=self.subject.checkpoint,
                text_heads=self.model.family.config.text.heads,
                bundle=self.bundles[precision],
                batch=batch,
                height=self.model.height,
                width=self.model.width,
                tokens=self.arguments.tokens,
                runs=self.arguments.runs,
                warm_up=self.arguments.warm_up,
            )
            command = [sys.executable, "-m", f"benches.gpu.{module}", *task.options()]
            if answers := run(row, batch, command):
                measured(row, batch, answers[0]["ms"])
        return row

    def _crate(self, name: str, precision: str, *options: str) -> Row:
        row = Row(name, precision)
        for batch in self.arguments.batches:
            command = [str(self.program), "--model", str(self.bundles[precision]), "--device", self.arguments.device]
            command += ["--size", f"{self.model.height}x{self.model.width}", "--batch", str(batch)]
            command += ["--tokens", str(self.arguments.tokens), "--runs", str(self.arguments.runs)]
            command += ["--warm-up", str(self.arguments.warm_up), *options, "ground"]
            workloads = ["pipelined"] if batch > 1 else []
            if answers := run(row, batch, command + workloads):
                measured(row, batch, answers[1]["ms"]["whole"])
            if answers and workloads:
                row.pipelined[batch] = median(answers[2]["ms"]["two_threads"])
        return row


def run(row: Row, batch: int, command: list[str]) -> list[dict]:
    """A contender's lines of JSON; none if it fails, which leaves its cells empty."""
    print(f"measuring: {row.name}, {row.precision}, batch {batch}", flush=True)
    # The very library that the Python package runs.
    environment = os.environ | {"ORT_DYLIB_PATH": str(runtime_library())}
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        print(f"error: {row.name}, {row.precision}, batch {batch} failed, see its message above", file=sys.stderr)
        row.failed = True
        return []
    return [json.loads(line) for line in result.stdout.splitlines()]


def measured(row: Row, batch: int, ms: list[float]) -> None:
    """Keeps the median, and says it at once: a run that is cut short has not been for nothing."""
    row.ms[batch] = median(ms)
    print(f"    {row.ms[batch]:.1f} ms", flush=True)


def gpu(device: str) -> str:
    if device == "cpu":
        return "no GPU: the steps were tried on the processor"
    query = ["nvidia-smi", f"--id={device.partition(':')[2] or 0}", "--query-gpu=name,memory.total,driver_version"]
    described = subprocess.run([*query, "--format=csv,noheader"], capture_output=True, text=True, check=True)
    return described.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
