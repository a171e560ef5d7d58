"""The measurement: in each round every contender runs once, so that what else the machine does falls on all alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from statistics import mean

from .worker import Worker

OFFICIAL, FORMS, ONNX, CRATE = "official", "forms", "onnx", "crate"
#: The image encoder's graph alone, and as PyTorch's exporter writes it.
GRAPH, STRAIGHT = "graph", "straight"


@dataclass
class Contenders:
    """The two in PyTorch may be left out."""

    official: Worker | None
    forms: Worker | None
    onnx: Worker
    crate: Worker


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


def measure(contenders: Contenders, tokens: list[int], straight: str, runs: int) -> list[Round]:
    rounds = []
    for number in range(runs):
        start = time.perf_counter()
        # Every other round backwards, so that nobody always runs in another's wake.
        rounds.append(one_round(contenders, tokens, straight, backwards=number % 2 == 1))
        print(f"round {number + 1} of {runs}: {time.perf_counter() - start:.0f} s", flush=True)
    return rounds


def one_round(contenders: Contenders, tokens: list[int], straight: str, backwards: bool = False) -> Round:
    result = Round()
    steps = _steps(contenders, tokens, straight, result)
    for step in reversed(steps) if backwards else steps:
        step()
    _complete(result, tokens)
    return result


def _steps(contenders: Contenders, tokens: list[int], straight: str, result: Round) -> list[Callable[[], None]]:
    first, *others = tokens
    onnx = contenders.onnx

    def python(name: str, worker: Worker, what: str, tokens: int) -> None:
        result.add(name, tokens, worker.ask(what, ids=ids_of(tokens))["seconds"])

    def crate(workload: str, tokens: int) -> None:
        result.add(CRATE, tokens, crate_seconds(contenders.crate, workload, tokens))

    def image_encoders() -> None:
        result.add(STRAIGHT, first, onnx.ask("straight_image_encoder", path=straight)["seconds"])
        result.add(GRAPH, first, onnx.ask("image_encoder")["seconds"])

    def peak() -> None:
        for worker in filter(None, (onnx, contenders.forms)):
            result.peak = max(result.peak, worker.ask("peak")["flops_per_second"])

    pytorch = [
        # Padded to the same length, it takes the same time whatever the prompt.
        partial(python, OFFICIAL, contenders.official, "ground", first),
        partial(python, FORMS, contenders.forms, "ground", first),
        *(partial(python, FORMS, contenders.forms, "prompt", count) for count in others),
    ]
    onnx_ground = partial(python, ONNX, onnx, "ground", first)
    # The closest race: twice, and in turn.
    closest = [onnx_ground, partial(crate, "components", first), onnx_ground, partial(crate, "reuse", first)]
    longer = [
        step
        for count in others
        for step in (partial(python, ONNX, onnx, "prompt", count), partial(crate, "components", count))
    ]
    rest = [image_encoders, image_encoders, partial(crate, "names", first)]
    return [peak, *(pytorch if contenders.official else []), peak, *closest, peak, *longer, *rest, peak]


def ids_of(tokens: int) -> list[int]:
    """A prompt of so many tokens; which ones does not matter."""
    return list(range(1, tokens + 1))


def crate_seconds(crate: Worker, workload: str, tokens: int) -> dict[str, float]:
    answer = crate.send(f"{workload} {tokens}")
    return {component: mean(times) / 1e3 for component, times in answer["ms"].items()}


def _complete(result: Round, tokens: list[int]) -> None:
    """Fills in, at the other lengths, what does not depend on the length and so was measured once."""
    first, *others = tokens
    measured_once = {FORMS: ("image_encoder", "dyconv"), ONNX: ("image_encoder",)}
    for count in others:
        for component, seconds in result.components(OFFICIAL, first).items():
            result.add(OFFICIAL, count, {component: seconds})
        for contender, once in measured_once.items():
            at_first, here = result.components(contender, first), result.components(contender, count)
            if not at_first:
                continue
            added = {component: at_first[component] for component in once}
            whole = sum(here[part] for part in ("text_encoder", "fusion", "head")) + sum(added.values())
            result.add(contender, count, added | {"whole": whole})
            if "dyconv" in added:
                result.samples[contender, count, "fusion"] = [here["fusion"] + added["dyconv"]]
