"""`python -m benches.full_size`: full-size models, this crate against PyTorch, ONNX Runtime and the machine's limit.

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
from .models import MODELS, Model
from .prepare import Subject, prepare, runtime_library
from .report import Report, run_facts, write
from .rounds import CRATE, ONNX, Contenders, Plan, Round, crate_seconds, measure, one_round
from .worker import REPOSITORY, Worker, WorkerError

LOADS = 5
RESULTS = REPOSITORY / "benches/RESULTS.md"


def arguments_of(command_line: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benches.full_size", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=MODELS, required=True, help="the small ones try the benchmark out")
    parser.add_argument(
        "--tokens", type=int, nargs="+", default=[10, 64, 256], help="the first is what the bars are for"
    )
    parser.add_argument("--runs", type=int, default=5, help="rounds that are measured; default: %(default)s")
    parser.add_argument("--threads", type=int, default=0, help="of every contender; default: each one's own default")
    parser.add_argument("--bundle", type=Path, help="a bundle instead of an export; needs --checkpoint")
    parser.add_argument("--checkpoint", type=Path, help="the checkpoint that --bundle was exported from")
    parser.add_argument("--without-pytorch", action="store_true", help="leave out the slow contenders")
    parser.add_argument("--whole-vocabulary", action="store_true", help="run all calls of 1203 names, not one of each")
    parser.add_argument("--folder", type=Path, help="where what is made is kept; default: target/MODEL")
    parser.add_argument("--out", type=Path, help=f"default: {RESULTS}; of small models, RESULTS.md in the folder")
    arguments = parser.parse_args(command_line)
    arguments.folder = (arguments.folder or REPOSITORY / "target" / arguments.model).resolve()
    if arguments.out is None:
        arguments.out = RESULTS if MODELS[arguments.model].is_published else arguments.folder / "RESULTS.md"
    if arguments.bundle and not arguments.checkpoint:
        parser.error("--bundle needs the --checkpoint that it was exported from")
    if arguments.runs < 1:
        parser.error(f"--runs {arguments.runs}: at least 1")
    return arguments


def main(command_line: list[str] | None = None) -> int:
    arguments = arguments_of(command_line)
    model = MODELS[arguments.model]
    try:
        subject = prepare(model, arguments.tokens, arguments.folder, arguments.bundle, arguments.checkpoint)
        report = benchmark(arguments, model, subject)
    except (WorkerError, DisagreementError, OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write(arguments.out, report)
    print(f"\n{report.markdown()}\nwritten to {arguments.out}")
    return 0


def benchmark(arguments: argparse.Namespace, model: Model, subject: Subject) -> Report:
    family, first = model.family, arguments.tokens[0]
    plan = Plan(family, subject.prompts, subject.straight)
    flops = {count: family.flops(model.height, model.width, count) for count in plan.prompts}
    loads = [load_seconds(subject, model, arguments.threads) for _ in range(LOADS)]
    with ExitStack() as stack:
        contenders = start(arguments, model, subject, stack)
        memory = first_images(contenders, subject, first)
        described = contenders.crate.loaded
        agrees = bool(contenders.torch)
        errors = check_agreement(contenders, family, arguments.folder, described["precision"]) if agrees else {}
        print("warming up", flush=True)
        one_round(Contenders({}, contenders.onnx, contenders.crate), plan)
        rounds = measure(contenders, plan, arguments.runs)
        whole_vocabulary = run_vocabulary(contenders.crate, first) if arguments.whole_vocabulary else None
        contenders.onnx.ask("ground", prompt=str(subject.prompts[first]))
        profile = contenders.onnx.ask("profile")
    save(rounds, arguments.folder / "rounds.json")
    vocabulary = Vocabulary(**described["vocabulary"])
    memory[CRATE] = (memory[CRATE][0], sorted(loads)[LOADS // 2])
    whole = flops[first]["whole"]
    judged = bars(family, rounds, first, whole, vocabulary, memory[CRATE][0], loads, whole_vocabulary)
    facts = run_facts(rounds, whole, first)
    facts += subject_facts(arguments, model, subject, described, vocabulary, errors)
    return Report(model, described["variant"], described["precision"], facts, judged, rounds, flops, memory, profile)


def start(arguments: argparse.Namespace, model: Model, subject: Subject, stack: ExitStack) -> Contenders:
    """All processes, with their models loaded."""

    def python(module: str, name: str, *options: str | Path) -> Worker:
        print(f"loading: {name}", flush=True)
        command = [sys.executable, "-m", f"benches.full_size.{module}", *map(str, options)]
        command += ["--pixels", str(subject.pixels), "--threads", str(arguments.threads)]
        return stack.enter_context(closing(Worker(name, command)))

    kinds = [] if arguments.without_pytorch else model.family.torch_kinds
    same = ["--model", model.name, "--checkpoint", subject.checkpoint]
    return Contenders(
        torch={kind: python("torch_worker", kind, *same, "--kind", kind) for kind in kinds},
        onnx=python("onnx_worker", ONNX, "--bundle", subject.bundle),
        crate=stack.enter_context(closing(crate_worker(subject, model, arguments.threads))),
    )


def crate_worker(subject: Subject, model: Model, threads: int) -> Worker:
    options = {"--model": subject.bundle.resolve(), "--size": f"{model.height}x{model.width}", "--threads": threads}
    command = [str(subject.program), *(str(part) for option in options.items() for part in option)]
    command += ["--runs", "1", "--warm-up", "0", "-"]
    # The very library that the Python package runs.
    return Worker(CRATE, command, {"ORT_DYLIB_PATH": str(runtime_library())})


def load_seconds(subject: Subject, model: Model, threads: int) -> float:
    """In a fresh process."""
    with closing(crate_worker(subject, model, threads)) as worker:
        return worker.loaded["load_ms"] / 1e3


def first_images(contenders: Contenders, subject: Subject, tokens: int) -> dict[str, tuple[float, float]]:
    """Peak memory and load seconds of processes that have loaded the model and grounded one image."""
    measured = {}
    for worker in (*contenders.torch.values(), contenders.onnx):
        print(f"first image: {worker.name}", flush=True)
        worker.ask("ground", prompt=str(subject.prompts[tokens]))
        measured[worker.name] = (worker.ask("memory")["bytes"], worker.loaded["load_seconds"])
    print(f"first image: {CRATE}", flush=True)
    answer = contenders.crate.send(f"ground {tokens}")
    measured[CRATE] = (answer["peak_memory_mb"] * 1e6, contenders.crate.loaded["load_ms"] / 1e3)
    return measured


def run_vocabulary(crate: Worker, tokens: int) -> list[float]:
    seconds = crate_seconds(crate, "vocabulary", tokens)
    return [seconds["one_encoding"] / seconds["separate_calls"]]


def subject_facts(
    arguments: argparse.Namespace,
    model: Model,
    subject: Subject,
    described: dict,
    vocabulary: Vocabulary,
    errors: dict[str, float],
) -> list[str]:
    graphs = sum(path.stat().st_size for path in subject.bundle.glob("*.onnx"))
    agreement = ", ".join(f"{name} {error:.0e}" for name, error in errors.items())
    reference = list(model.family.torch_kinds.values())[-1].label
    names = (
        "all calls run" if arguments.whole_vocabulary else "from one call and one prompt of each kind in every round"
    )
    return [
        f"{described['variant']}, {model.family.parameters() / 1e6:.1f} M parameters, random weights, "
        f"{described['precision']}, graphs of {graphs / 1e6:.0f} MB, one image of {model.height} x {model.width}, "
        f"{arguments.runs} rounds, " + (f"{arguments.threads} threads" if arguments.threads else "default threads"),
        f"{vocabulary.names} names: {vocabulary.per_prompt} fill a prompt; {names}",
        *([f"largest difference from {reference}, {model.family.error_is}: {agreement}"] if errors else []),
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
