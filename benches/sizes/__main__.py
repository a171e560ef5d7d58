"""`python -m benches.sizes`: what an image's size and a prompt's length cost, and what the model in the box finds at each size.

GLIP-T with random weights, made once and kept as for `python -m benches.full_size`, and the model in the box. Every size
has a process of its own, so that its memory is its own, and all take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np

from ..full_size import machine
from ..full_size.models import MODELS
from ..full_size.prepare import build_program, make_bundle, make_checkpoint, runtime_library
from ..full_size.report import put, table
from ..full_size.worker import REPOSITORY

RESULTS = REPOSITORY / "benches/RESULTS.md"
PLOT = REPOSITORY / "docs/sizes.svg"
#: Height and width by short side: four to three, up to multiples of 32.
SIZES = {320: (320, 448), 480: (480, 640), 640: (640, 864), 800: (800, 1088)}
#: The rule that all released GLIP models have: the long side at most 1333 / 800 of the short one.
LONGEST = 1333 / 800
TOKENS = (10, 64, 128, 256)
#: The size for prompts of every length, and the length for images of every size.
SIDE, LENGTH = 480, 10
BOX = "the model in the box"


@dataclass(frozen=True)
class Case:
    """An input of a size, and a prompt of so many tokens."""

    side: int
    tokens: int

    @property
    def megapixels(self) -> float:
        height, width = SIZES[self.side]
        return height * width / 1e6


@dataclass(frozen=True)
class Cost:
    """Medians of a case: the time and the most memory of the process."""

    ms: float
    megabytes: float


def arguments_of(command_line: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benches.sizes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", choices=MODELS, default="glip-t", help="beside the one in the box; the small ones try it out"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each case has its turn; default: %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="of a case in its turn; default: %(default)s")
    parser.add_argument(
        "--photos",
        nargs=2,
        metavar=("ANNOTATIONS", "IMAGES"),
        help="photographs in COCO's format on which the model in the box is measured at every size",
    )
    parser.add_argument("--folder", type=Path, help="where models are kept; default: target/MODEL")
    parser.add_argument("--out", type=Path, default=RESULTS, help="default: %(default)s")
    parser.add_argument("--plot", type=Path, default=PLOT, help="default: %(default)s")
    arguments = parser.parse_args(command_line)
    arguments.folder = (arguments.folder or REPOSITORY / "target" / arguments.model).resolve()
    return arguments


def main(command_line: list[str] | None = None) -> int:
    arguments = arguments_of(command_line)
    family = MODELS[arguments.model].family
    arguments.folder.mkdir(parents=True, exist_ok=True)
    bundle = make_bundle(arguments.folder / "bundle", make_checkpoint(arguments.folder, family), family)
    program = build_program()
    cases = [Case(side, LENGTH) for side in SIZES] + [Case(SIDE, tokens) for tokens in TOKENS if tokens != LENGTH]
    models = {arguments.model: bundle, BOX: None}
    costs = {name: measure(program, model, cases, arguments) for name, model in models.items()}
    found = found_at(arguments.photos) if arguments.photos else {}
    text = report(costs, found)
    put(arguments.out, "bench-sizes", text)
    plot(arguments.plot, costs, found)
    print(f"\n{text}\nwritten to {arguments.out}, drawn in {arguments.plot}")
    return 0


def measure(program: Path, model: Path | None, cases: list[Case], arguments: argparse.Namespace) -> dict[Case, Cost]:
    """All cases in turn, each in a process of its own."""
    times, memory = defaultdict(list), defaultdict(list)
    for round_ in range(arguments.rounds):
        for case in cases:
            print(f"round {round_ + 1}: {model or BOX}, {case}", flush=True)
            lines = run(program, model, case, arguments.runs)
            times[case] += lines[-1]["ms"]["whole"]
            memory[case].append(lines[-1]["peak_memory_mb"])
    return {case: Cost(median(times[case]), median(memory[case])) for case in cases}


def run(program: Path, model: Path | None, case: Case, runs: int) -> list[dict]:
    height, width = SIZES[case.side]
    command = [program, *(["--model", model] if model else []), "--size", f"{height}x{width}"]
    command += ["--tokens", str(case.tokens), "--runs", str(runs), "ground"]
    environment = os.environ | {"ORT_DYLIB_PATH": str(runtime_library())}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def found_at(photos: list[str]) -> dict[int, dict[str, float]]:
    """AP and AP50 of the model in the box by the short side, as `glip evaluate coco` measures them."""
    subprocess.run(["cargo", "build", "--release", "-p", "glip-tools"], cwd=REPOSITORY, check=True)
    annotations, images = (Path(path).resolve() for path in photos)
    found = {}
    for side in SIZES:
        print(f"what is found at {side}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            command = [
                "target/release/glip",
                "evaluate",
                "coco",
                annotations,
                "--images",
                images,
                "--out",
                f"{folder}/run",
            ]
            command += ["--resize", f"{side}:{round(side * LONGEST)}", "--json"]
            done = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
        found[side] = json.loads(done.stdout)["scores"]["averages"]
    return found


def line_through(points: dict[float, float]) -> tuple[float, float, float]:
    """The line nearest to the points: its height at 0, its slope, and how far the farthest point is from it, as a share."""
    x, y = np.array(list(points)), np.array(list(points.values()))
    slope, height = np.polyfit(x, y, 1)
    return height, slope, float(np.max(np.abs(height + slope * x - y) / y))


def by_pixels(costs: dict[Case, Cost]) -> dict[float, float]:
    return {case.megapixels: cost.ms for case, cost in costs.items() if case.tokens == LENGTH}


def by_tokens(costs: dict[Case, Cost]) -> dict[float, float]:
    return {case.tokens: cost.ms for case, cost in costs.items() if case.side == SIDE}


def report(costs: dict[str, dict[Case, Cost]], found: dict[int, dict[str, float]]) -> str:
    parts = [
        f"## Size against time on a CPU, fp32, {date.today().isoformat()}",
        "\n".join(f"- {fact}" for fact in [*machine.description(), f"commit {machine.commit()}"]),
    ]
    heading = [f"{LENGTH} tokens", *(f"{name}{what}" for name in costs for what in ("", ", memory"))]
    rows = []
    for side, (height, width) in SIZES.items():
        cells = [cell for model in costs.values() for cell in cells_of(model[Case(side, LENGTH)])]
        rows.append([f"{side} ({height} x {width})", *cells, *ap_cells(found, side)])
    parts.append(table(heading + (["its AP50", "its AP"] if found else []), rows))
    rows = [
        [str(tokens), *(cell for model in costs.values() for cell in cells_of(model[Case(SIDE, tokens)]))]
        for tokens in TOKENS
    ]
    parts.append(table([f"tokens, at {SIDE}", *heading[1:]], rows))
    for name, model in costs.items():
        for what, points in (("megapixel", by_pixels(model)), ("token", by_tokens(model))):
            height, slope, farthest = line_through(points)
            parts.append(
                f"{name}: {height:.4g} ms and {slope:.3g} ms a {what}; the farthest point is {100 * farthest:.1f} % off."
            )
    return "\n\n".join(parts) + "\n"


def cells_of(cost: Cost) -> list[str]:
    return [f"{cost.ms:.4g} ms", f"{cost.megabytes:.0f} MB"]


def ap_cells(found: dict[int, dict[str, float]], side: int) -> list[str]:
    return [f"{found[side][name]:.3f}" for name in ("AP50", "AP")] if found else []


def plot(path: Path, costs: dict[str, dict[Case, Cost]], found: dict[int, dict[str, float]]) -> None:
    """Times with the lines through them, and what is found."""
    import matplotlib

    matplotlib.use("svg")
    # Without these every run writes another file.
    matplotlib.rcParams["svg.hashsalt"] = "sizes"
    from matplotlib import pyplot

    figure, columns = pyplot.subplots(1, 3 if found else 2, figsize=(12 if found else 8, 3.6), layout="constrained")
    for axes, of, label in zip(columns, (by_pixels, by_tokens), ("megapixels", f"tokens, at {SIDE}")):
        for name, model in costs.items():
            points = of(model)
            height, slope, _ = line_through(points)
            [dots] = axes.plot(list(points), list(points.values()), "o", label=name)
            along = np.linspace(min(points), max(points))  # a line is a curve on a logarithmic axis
            axes.plot(along, height + slope * along, color=dots.get_color(), linewidth=1)
        axes.set(xlabel=label, ylabel="ms an image", yscale="log")
        axes.legend()
    if found:
        axes = columns[2]
        times = [costs[BOX][Case(side, LENGTH)].ms for side in found]
        aps = [numbers["AP50"] for numbers in found.values()]
        axes.plot(times, aps, "o-", color="C1")
        for side, time, ap in zip(found, times, aps):
            axes.annotate(str(side), (time, ap), textcoords="offset points", xytext=(4, -10))
        axes.set(xlabel=f"ms an image, {BOX}", ylabel="AP50 on photographs")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
