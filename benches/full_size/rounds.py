"""The measurement: in each round every contender runs once, so that what else the machine does falls on all alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import mean

from .family import STAGES, Family
from .worker import Worker

ONNX, CRATE = "onnx", "crate"
#: The image encoder's graph alone, and as PyTorch's exporter writes it.
GRAPH, STRAIGHT = "graph", "straight"


@dataclass
class Contenders:
    """Those in PyTorch, by kind, may be left out."""

    torch: dict[str, Worker]
    onnx: Worker
    crate: Worker


@dataclass(frozen=True)
class Plan:
    """What a round runs."""

    family: Family
    #: Files by number of tokens; what only one length is measured of is measured with the first.
    prompts: dict[int, Path]
    #: The straight export of the image encoder.
    straight: Path | None


@dataclass
class Round:
    """Seconds by contender, tokens and component; of what ran several times, the mean."""

    samples: dict[tuple[str, int, str], list[float]] = field(default_factory=dict)
    #: Floating-point operations per second of a large matrix product.
    peak: float = 0.0

    def add(self, contender: str, tokens: int, seconds: dict[str, float]) -> None:
        for component, value in seconds.items():
            self.samples.setdefault((contender, tokens, component), []).append(value)

    def seconds(self, contender: str, tokens: int, component: str) -> float:
        return mean(self.samples[contender, tokens, component])

    def has(self, contender: str, tokens: int, component: str) -> bool:
        return (contender, tokens, component) in self.samples

    def components(self, contender: str, tokens: int) -> dict[str, float]:
        found = [component for name, count, component in self.samples if (name, count) == (contender, tokens)]
        return {component: self.seconds(contender, tokens, component) for component in found}


def measure(contenders: Contenders, plan: Plan, runs: int) -> list[Round]:
    rounds = []
    for number in range(runs):
        start = time.perf_counter()
        # Every other round backwards, so that nobody always runs in another's wake.
        rounds.append(one_round(contenders, plan, backwards=number % 2 == 1))
        print(f"round {number + 1} of {runs}: {time.perf_counter() - start:.0f} s", flush=True)
    return rounds


def one_round(contenders: Contenders, plan: Plan, backwards: bool = False) -> Round:
    result = Round()
    steps = _steps(contenders, plan, result)
    for step in reversed(steps) if backwards else steps:
        step()
    for contender in (*contenders.torch, ONNX):
        _complete(result, contender, plan)
    return result


def _steps(contenders: Contenders, plan: Plan, result: Round) -> list[Callable[[], None]]:
    first, *others = plan.prompts
    onnx, kinds = contenders.onnx, plan.family.torch_kinds

    def python(name: str, worker: Worker, what: str, tokens: int) -> None:
        result.add(name, tokens, worker.ask(what, prompt=str(plan.prompts[tokens]))["seconds"])

    def crate(workload: str, tokens: int) -> None:
        result.add(CRATE, tokens, crate_seconds(contenders.crate, workload, tokens))

    def image_encoders() -> None:
        result.add(STRAIGHT, first, onnx.ask("straight_image_encoder", path=str(plan.straight))["seconds"])
        result.add(GRAPH, first, onnx.ask("image_encoder")["seconds"])

    def peak() -> None:
        for worker in (onnx, *list(contenders.torch.values())[-1:]):
            result.peak = max(result.peak, worker.ask("peak")["flops_per_second"])

    pytorch = [partial(python, name, worker, "ground", first) for name, worker in contenders.torch.items()]
    pytorch += [
        partial(python, name, worker, "prompt", count)
        for name, worker in contenders.torch.items()
        if not kinds[name].pads_prompts
        for count in others
    ]
    onnx_ground = partial(python, ONNX, onnx, "ground", first)
    # The closest race: twice, and in turn.
    closest = [onnx_ground, partial(crate, "components", first), onnx_ground, partial(crate, "reuse", first)]
    longer = [
        step
        for count in others
        for step in (partial(python, ONNX, onnx, "prompt", count), partial(crate, "components", count))
    ]
    encoders = [image_encoders, image_encoders] if plan.straight else []
    return [peak, *pytorch, peak, *closest, peak, *longer, *encoders, partial(crate, "names", first), peak]


def crate_seconds(crate: Worker, workload: str, tokens: int) -> dict[str, float]:
    answer = crate.send(f"{workload} {tokens}")
    return {component: mean(times) / 1e3 for component, times in answer["ms"].items()}


def _complete(result: Round, contender: str, plan: Plan) -> None:
    """Fills in, at the other lengths, what does not depend on the length and so was measured once."""
    first, *others = plan.prompts
    for count in others:
        at_first, here = result.components(contender, first), result.components(contender, count)
        missing = {component: seconds for component, seconds in at_first.items() if component not in here}
        if here and "whole" in missing:
            missing_parts = sum(seconds for part, seconds in missing.items() if part in plan.family.parts)
            result.samples[contender, count, "fusion"] = [here["fusion"] + missing_parts]
            missing["whole"] = missing_parts + sum((missing | here)[stage] for stage in STAGES)
        result.add(contender, count, missing)
