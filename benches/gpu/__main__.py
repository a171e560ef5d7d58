"""`python -m benches.gpu`: models on a GPU, this crate against PyTorch and ONNX Runtime. Start it with benches/gpu.sh.

Random weights stand in for released ones: the time is the same. A time is that from pixels in host memory to the
head's outputs there, the median of several runs after some that are not counted. This crate's is that of a whole call:
from the image's bytes to boxes, preprocessing and post-processing included.

Stages, of a few minutes each at most, which say what they find as they go:

  correctness  the crate's tests on the device, which compare it with the processor
  speed        GLIP-T by all contenders
  profile      which kernels GLIP-T's time goes to
  gdino        Grounding DINO tiny by all contenders
  compile      GLIP-T by torch.compile
  tensorrt     GLIP-T by this crate on TensorRT
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

import onnxruntime
import torch

from ..full_size.machine import commit, description
from ..full_size.models import MODELS
from ..full_size.prepare import build_program, built, make_bundle, make_checkpoint, runtime_library
from ..full_size.worker import REPOSITORY
from .contender import Task
from .report import Row, markdown

STAGES = ("correctness", "speed", "profile", "gdino", "compile", "tensorrt")
#: TensorRT compiles for minutes.
USUAL_STAGES = STAGES[:-1]
FEATURES = "cuda,tensorrt"
#: Kernels that a profile names.
KERNELS = 12
#: A contender that takes longer has failed, in seconds.
PATIENCE = 170
#: What a machine without Rust is given.
PROGRAM, TESTS = "workloads", "gpu_tests"


def arguments_of(command_line: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benches/gpu.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0", help="cuda:N, or cpu to try the steps; default: %(default)s")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(USUAL_STAGES), help="default: %(default)s")
    parser.add_argument("--small", action="store_true", help="tiny models on small pictures, to try the steps")
    parser.add_argument("--checkpoint", type=Path, help="of a GLIP-T; default: random weights")
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "fp16"), default=["fp32", "fp16"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="default: 1 8")
    parser.add_argument("--tokens", type=int, default=10, help="of the prompt; default: %(default)s")
    parser.add_argument("--runs", type=int, default=20, help="that are counted; default: %(default)s")
    parser.add_argument("--warm-up", type=int, default=5, help="runs that are not; default: %(default)s")
    parser.add_argument(
        "--build", type=Path, metavar="DIR", help="only builds the crate's programs, for a machine without Rust"
    )
    parser.add_argument("--prebuilt", type=Path, metavar="DIR", help="takes these programs and builds none")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "target/gpu/RESULTS.md", help="default: %(default)s")
    return parser.parse_args(command_line)


def main(command_line: list[str] | None = None) -> int:
    arguments = arguments_of(command_line)
    try:
        if arguments.build is not None:
            build(arguments.build)
            return 0
        check(arguments)
        rows = Benchmark(arguments).run()
    except (BenchmarkError, OSError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return int(any(row.failed for row in rows))


class BenchmarkError(RuntimeError):
    """Something that the benchmark needs is missing or failed."""


def check(arguments: argparse.Namespace) -> None:
    """That everything is there, before minutes are spent."""
    if arguments.prebuilt is not None:
        for program in (PROGRAM, TESTS):
            if not (arguments.prebuilt / program).is_file():
                raise BenchmarkError(
                    f"{arguments.prebuilt / program} is not there: --build {arguments.prebuilt} makes it"
                )
    if arguments.device == "cpu":
        return
    if not torch.cuda.is_available():
        raise BenchmarkError("PyTorch sees no GPU: install a build of it for CUDA that fits the driver")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise BenchmarkError(
            "ONNX Runtime has no CUDA: uninstall the package onnxruntime, then install onnxruntime-gpu[cuda,cudnn]"
        )


def build(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(build_program(FEATURES), folder / PROGRAM)
    shutil.copy2(build_tests(), folder / TESTS)
    print(f"built {folder / PROGRAM} and {folder / TESTS}")


def build_tests() -> Path:
    return built("gpu", "test", "--release", "--features", FEATURES, "--test", "gpu")


class Subject:
    """A checkpoint and its bundles, made where they are missing."""

    def __init__(self, name: str, checkpoint: Path | None = None):
        self.name, self.model = name, MODELS[name]
        self.folder = REPOSITORY / "target/gpu" / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.checkpoint = checkpoint or make_checkpoint(self.folder, self.model.family)

    def bundle(self, precision: str) -> Path:
        return make_bundle(self.folder / precision, self.checkpoint, self.model.family, precision, device="gpu")


class Benchmark:
    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments

    def run(self) -> list[Row]:
        self.arguments.out.unlink(missing_ok=True)
        rows = []
        for stage in self.arguments.stages:
            print(f"stage {stage}", flush=True)
            rows += getattr(self, stage)()
        return rows

    def subject(self, name: str) -> Subject:
        size = "small" if self.arguments.small else "t"
        return Subject(f"{name}-{size}", self.arguments.checkpoint if name == "glip" else None)

    # Stages

    def correctness(self) -> list[Row]:
        """That the crate computes the same on the device, on a small model, before anything is timed there."""
        row = Row("the crate's tests", "fp16")
        tests = build_tests() if self.arguments.prebuilt is None else self.arguments.prebuilt / TESTS
        environment = {"ORT_DYLIB_PATH": str(runtime_library()), "GLIP_DEVICE": self.arguments.device}
        environment["GLIP_MODEL"] = str(Subject("glip-small").bundle("fp16"))
        result = subprocess.run(
            [tests, "--ignored"], cwd=REPOSITORY, env=os.environ | environment, check=False, timeout=PATIENCE
        )
        row.failed = result.returncode != 0
        return [row]

    def speed(self) -> list[Row]:
        subject, rows = self.subject("glip"), []
        for precision in self.arguments.precisions:
            if precision == "fp32":
                # Official's padding of scores is beyond what half precision holds.
                rows.append(self._torch("PyTorch eager, official form", subject, precision, "official"))
            rows.append(self._torch("PyTorch eager, our forms", subject, precision, "forms"))
            rows.append(self._python("ONNX Runtime from Python", "onnx_contender", subject, precision))
            rows += self._crates(subject, precision)
        return self._told(subject, rows)

    def profile(self) -> list[Row]:
        if self.arguments.device == "cpu":
            print("    a profile is of a GPU", flush=True)
            return []
        subject, row = self.subject("glip"), Row("profile", "fp16")
        task = self._task(subject, "fp16", 1, profiled=True)
        for answer in run(row, 1, [sys.executable, "-m", "benches.gpu.onnx_contender", *task.options()]):
            kernels = answer["kernels"]
            total, launches = (sum(kernel[what] for kernel in kernels.values()) for what in ("ms", "launches"))
            print(f"    {total:.2f} ms in {launches:.0f} kernels and copies, of one image and one prompt")
            for name, kernel in list(kernels.items())[:KERNELS]:
                print(f"    {kernel['ms']:8.3f} ms {kernel['launches']:6.0f}  {name}", flush=True)
        return [row]

    def gdino(self) -> list[Row]:
        subject = self.subject("gdino")
        rows = [self._torch("transformers, eager", subject, "fp32", "transformers")]
        rows.append(self._python("ONNX Runtime from Python", "onnx_contender", subject, "fp16"))
        rows += self._crates(subject, "fp16")
        return self._told(subject, rows)

    def compile(self) -> list[Row]:
        subject = self.subject("glip")
        rows = [self._torch("torch.compile, our forms", subject, "fp16", "forms", compiled=True, batches=[1])]
        return self._told(subject, rows)

    def tensorrt(self) -> list[Row]:
        subject = self.subject("glip")
        device = self.arguments.device.replace("cuda", "tensorrt")
        options = ["--device", device, "--tensorrt-cache", str(subject.folder / "tensorrt")]
        rows = [
            self._crate("this crate, TensorRT", subject, precision, *options) for precision in self.arguments.precisions
        ]
        return self._told(subject, rows)

    # Contenders

    def _torch(self, name: str, subject: Subject, precision: str, kind: str, **options) -> Row:
        return self._python(name, "torch_contender", subject, precision, kind=kind, **options)

    def _python(
        self, name: str, module: str, subject: Subject, precision: str, batches: list[int] | None = None, **options
    ) -> Row:
        row = Row(name, precision)
        for batch in batches or self.arguments.batches:
            task = self._task(subject, precision, batch, **options)
            command = [sys.executable, "-m", f"benches.gpu.{module}", *task.options()]
            for answer in run(row, batch, command):
                measured(row, batch, answer["ms"])
        return row

    def _task(
        self,
        subject: Subject,
        precision: str,
        batch: int,
        kind: str | None = None,
        compiled: bool = False,
        profiled: bool = False,
    ) -> Task:
        """Of PyTorch if a kind is named, which reads the checkpoint; else of the bundle."""
        return Task(
            device=self.arguments.device,
            precision=precision,
            model=subject.name,
            kind=kind,
            compiled=compiled,
            profiled=profiled,
            checkpoint=subject.checkpoint,
            bundle=None if kind else subject.bundle(precision),
            batch=batch,
            tokens=self.arguments.tokens,
            runs=self.arguments.runs,
            warm_up=self.arguments.warm_up,
        )

    def _crates(self, subject: Subject, precision: str) -> list[Row]:
        rows = [self._crate("this crate", subject, precision)]
        if self.arguments.device != "cpu":
            rows.append(self._crate("this crate, CUDA graphs", subject, precision, "--cuda-graphs"))
        return rows

    def _crate(self, name: str, subject: Subject, precision: str, *options: str) -> Row:
        row, model = Row(name, precision), subject.model
        prebuilt = self.arguments.prebuilt
        program = build_program(FEATURES) if prebuilt is None else prebuilt / PROGRAM
        for batch in self.arguments.batches:
            command = [str(program), "--model", str(subject.bundle(precision)), "--device", self.arguments.device]
            # Grounding DINO pads nothing, so that its picture must have exactly the sides of the network's input.
            command += ["--size", f"{model.height}x{model.width}", "--batch", str(batch)]
            command += ["--tokens", str(self.arguments.tokens), "--runs", str(self.arguments.runs)]
            command += ["--warm-up", str(self.arguments.warm_up), *options]
            workload = "components" if batch == 1 else "ground"
            if answers := run(row, batch, [*command, workload]):
                ms = answers[1]["ms"]
                measured(row, batch, ms.pop("whole"))
                print("      " + ", ".join(f"{part} {median(times):.2f}" for part, times in ms.items()), flush=True)
        return row

    def _told(self, subject: Subject, rows: list[Row]) -> list[Row]:
        """Writes the table of a stage; later stages add theirs."""
        arguments, model = self.arguments, subject.model
        about = (
            f"{subject.name}, {arguments.checkpoint or 'random weights'}, {model.height} x {model.width}, "
            f"{arguments.tokens} tokens, median of {arguments.runs} runs, commit {commit()}"
        )
        text = markdown(rows, arguments.batches, [gpu(arguments.device), *description(), about])
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        with arguments.out.open("a", encoding="utf-8") as out:
            out.write(text + "\n")
        print(f"\n{text}\nwritten to {arguments.out}", flush=True)
        return rows


def run(row: Row, batch: int, command: list[str]) -> list[dict]:
    """A contender's lines of JSON; none if it fails, which leaves its cells empty."""
    print(f"measuring: {row.name}, {row.precision}, batch {batch}", flush=True)
    # The very library that the Python package runs.
    environment = os.environ | {"ORT_DYLIB_PATH": str(runtime_library())}
    try:
        result = subprocess.run(
            command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        how = (
            f"took over {PATIENCE} s"
            if isinstance(error, subprocess.TimeoutExpired)
            else "failed, see its message above"
        )
        print(f"error: {row.name}, {row.precision}, batch {batch} {how}", file=sys.stderr)
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
