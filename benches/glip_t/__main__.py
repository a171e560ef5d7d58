"""`python -m benches.glip_t`: full-size GLIP, this crate against PyTorch, ONNX Runtime and the machine's limit.

Random weights stand in for released ones: the time is the same. Everything that is made (checkpoint, bundle, straight
export) is kept in a folder and made again only when its sources change.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

from .agreement import DisagreementError, check_agreement
from .bars import Vocabulary, bars
from .flops import count_flops, parameters
from .prepare import MODEL_SIZES, ModelSize, Subject, prepare, runtime_library
from .report import Report, run_facts, write
from .rounds import CRATE, FORMS, OFFICIAL, ONNX, Contenders, Round, crate_seconds, ids_of, measure, one_round
from .worker import REPOSITORY, Worker, WorkerError

LOADS = 5
RESULTS = REPOSITORY / "benches/RESULTS.md"


def arguments_of(command_line: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benches.glip_t", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model-size", choices=MODEL_SIZES, default="glip-t", help="`small` tries the benchmark out")
    parser.add_argument(
        "--tokens", type=int, nargs="+", default=[10, 64, 256], help="the first is what the bars are for"
    )
    parser.add_argument("--runs", type=int, default=5, help="rounds that are measured; default: %(default)s")
    parser.add_argument("--threads", type=int, default=0, help="of every contender; default: each one's own default")
    parser.add_argument("--bundle", type=Path, help="a bundle instead of an export; needs --checkpoint")
    parser.add_argument("--checkpoint", type=Path, help="the checkpoint that --bundle was exported from")
    parser.add_argument("--without-pytorch", action="store_true", help="leave out the two slow contenders")
    parser.add_argument("--whole-vocabulary", action="store_true", help="run all calls of 1203 names, not one of each")
    parser.add_argument("--folder", type=Path, help="where what is made is kept; default: target/MODEL_SIZE")
    parser.add_argument("--out", type=Path, help=f"default: {RESULTS} for glip-t, else RESULTS.md in the folder")
    arguments = parser.parse_args(command_line)
    arguments.folder = (arguments.folder or REPOSITORY / "target" / arguments.model_size).resolve()
    if arguments.out is None:
        arguments.out = RESULTS if arguments.model_size == "glip-t" else arguments.folder / "RESULTS.md"
    if arguments.bundle and not arguments.checkpoint:
        parser.error("--bundle needs the --checkpoint that it was exported from")
    if arguments.runs < 1:
        parser.error(f"--runs {arguments.runs}: at least 1")
    return arguments


def main(command_line: list[str] | None = None) -> int:
    arguments = arguments_of(command_line)
    size = MODEL_SIZES[arguments.model_size]
    try:
        subject = prepare(size, arguments.folder, arguments.bundle, arguments.checkpoint)
        report = benchmark(arguments, size, subject)
    except (WorkerError, DisagreementError, OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    markdown = report.markdown()
    write(arguments.out, report.precision, markdown)
    print(f"\n{markdown}\nwritten to {arguments.out}")
    return 0


def benchmark(arguments: argparse.Namespace, size: ModelSize, subject: Subject) -> Report:
    tokens, straight, folder = arguments.tokens, str(subject.straight), arguments.folder
    flops = {count: count_flops(subject.config, size.height, size.width, count) for count in tokens}
    loads = [load_seconds(subject, size, arguments.threads) for _ in range(LOADS)]
    with ExitStack() as stack:
        contenders = start(arguments, size, subject, stack)
        memory = first_images(contenders, tokens[0])
        described = contenders.crate.loaded
        errors = check_agreement(contenders, folder, described["precision"]) if contenders.official else {}
        print("warming up", flush=True)
        one_round(Contenders(None, None, contenders.onnx, contenders.crate), tokens, straight)
        rounds = measure(contenders, tokens, straight, arguments.runs)
        whole_vocabulary = run_vocabulary(contenders.crate, tokens[0]) if arguments.whole_vocabulary else None
    save(rounds, folder / "rounds.json")
    vocabulary = Vocabulary(**described["vocabulary"])
    memory[CRATE] = (memory[CRATE][0], sorted(loads)[LOADS // 2])
    judged = bars(rounds, tokens[0], flops[tokens[0]]["whole"], vocabulary, memory[CRATE][0], loads, whole_vocabulary)
    facts = run_facts(rounds, flops[tokens[0]]["whole"], tokens[0])
    facts += subject_facts(arguments, size, subject, described, vocabulary, errors)
    return Report(title(subject, size), described["precision"], facts, judged, rounds, flops, memory)


def start(arguments: argparse.Namespace, size: ModelSize, subject: Subject, stack: ExitStack) -> Contenders:
    """All processes, with their models loaded."""
    threads = ["--threads", str(arguments.threads)]
    pixels = ["--pixels", str(subject.pixels)]

    def python(module: str, name: str, *options: str) -> Worker:
        print(f"loading: {name}", flush=True)
        command = [sys.executable, "-m", f"benches.glip_t.{module}", *pixels, *threads, *options]
        return stack.enter_context(closing(Worker(name, command)))

    model = ["--checkpoint", str(subject.checkpoint), "--text-heads", str(subject.config.text.heads)]
    with_pytorch = not arguments.without_pytorch
    return Contenders(
        official=python("torch_worker", OFFICIAL, *model, "--official") if with_pytorch else None,
        forms=python("torch_worker", FORMS, *model) if with_pytorch else None,
        onnx=python("onnx_worker", ONNX, "--bundle", str(subject.bundle)),
        crate=stack.enter_context(closing(crate_worker(subject, size, arguments.threads))),
    )


def crate_worker(subject: Subject, size: ModelSize, threads: int) -> Worker:
    options = {"--model": subject.bundle.resolve(), "--size": f"{size.height}x{size.width}", "--threads": threads}
    command = [str(subject.program), *(str(part) for option in options.items() for part in option)]
    command += ["--runs", "1", "--warm-up", "0", "-"]
    # The very library that the Python package runs.
    return Worker(CRATE, command, {"ORT_DYLIB_PATH": str(runtime_library())})


def load_seconds(subject: Subject, size: ModelSize, threads: int) -> float:
    """In a fresh process."""
    with closing(crate_worker(subject, size, threads)) as worker:
        return worker.loaded["load_ms"] / 1e3


def first_images(contenders: Contenders, tokens: int) -> dict[str, tuple[float, float]]:
    """Peak memory and load seconds of processes that have loaded the model and grounded one image."""
    measured = {}
    for worker in filter(None, (contenders.official, contenders.forms, contenders.onnx)):
        print(f"first image: {worker.name}", flush=True)
        worker.ask("ground", ids=ids_of(tokens))
        measured[worker.name] = (worker.ask("memory")["bytes"], worker.loaded["load_seconds"])
    print(f"first image: {CRATE}", flush=True)
    answer = contenders.crate.send(f"ground {tokens}")
    measured[CRATE] = (answer["peak_memory_mb"] * 1e6, contenders.crate.loaded["load_ms"] / 1e3)
    return measured


def run_vocabulary(crate: Worker, tokens: int) -> list[float]:
    seconds = crate_seconds(crate, "vocabulary", tokens)
    return [seconds["one_encoding"] / seconds["separate_calls"]]


def title(subject: Subject, size: ModelSize) -> str:
    return f"{subject.config.variant} on a CPU, {size.height} x {size.width}"


def subject_facts(
    arguments: argparse.Namespace,
    size: ModelSize,
    subject: Subject,
    described: dict,
    vocabulary: Vocabulary,
    errors: dict[str, float],
) -> list[str]:
    graphs = sum(path.stat().st_size for path in subject.bundle.glob("*.onnx"))
    agreement = ", ".join(f"{name} {error:.0e}" for name, error in errors.items())
    names = (
        "all calls run" if arguments.whole_vocabulary else "from one call and one prompt of each kind in every round"
    )
    return [
        f"{described['variant']}, {parameters(subject.config) / 1e6:.1f} M parameters, random weights, "
        f"{described['precision']}, graphs of {graphs / 1e6:.0f} MB, one image of {size.height} x {size.width}, "
        f"{arguments.runs} rounds, " + (f"{arguments.threads} threads" if arguments.threads else "default threads"),
        f"{vocabulary.names} names: {vocabulary.per_prompt} fill a prompt; {names}",
        *([f"largest difference from our forms in PyTorch, relative to the tensor: {agreement}"] if errors else []),
    ]


def save(rounds: list[Round], path: Path) -> None:
    """Every sample, to look at afterwards."""
    content = [
        {
            "peak": round_.peak,
            "seconds": {f"{name}/{tokens}/{part}": values for (name, tokens, part), values in round_.samples.items()},
        }
        for round_ in rounds
    ]
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
