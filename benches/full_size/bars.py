"""What the numbers must be."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from .family import Family
from .rounds import CRATE, GRAPH, ONNX, STRAIGHT, Round


@dataclass(frozen=True)
class Bar:
    """A ratio (or another quantity), measured in every round, and where it must be if that is said."""

    what: str
    values: list[float]
    limit: float | None
    unit: str = ""
    at_least: bool = False

    @property
    def measured(self) -> float:
        return median(self.values)

    @property
    def met(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def row(self) -> list[str]:
        spread = f"{min(self.values):.3g} to {max(self.values):.3g}" if len(self.values) > 1 else "one run"
        measured = [self.what, f"{self.measured:.3g}{self.unit}", spread]
        if self.limit is None:
            return [*measured, "", ""]
        bound = "at least" if self.at_least else "at most"
        return [*measured, f"{bound} {self.limit:g}{self.unit}", "met" if self.met else "**missed**"]


@dataclass(frozen=True)
class Vocabulary:
    """How 1203 names are divided."""

    names: int
    per_call: int
    per_prompt: int


def bars(
    family: Family,
    rounds: list[Round],
    tokens: int,
    flops: float,
    vocabulary: Vocabulary,
    memory_bytes: float,
    load_seconds: list[float],
    whole_vocabulary: list[float] | None = None,
) -> list[Bar]:
    def ratios(numerator, denominator):
        return [numerator(round_) / denominator(round_) for round_ in rounds]

    def seconds(contender, component):
        return lambda round_: round_.seconds(contender, tokens, component)

    whole, limits = seconds(CRATE, "whole"), family.limits
    names = whole_vocabulary or [vocabulary_ratio(round_, tokens, vocabulary) for round_ in rounds]
    against_pytorch, against_straight = [], []
    baseline, kind = next(iter(family.torch_kinds.items()))
    if rounds[0].has(baseline, tokens, "whole"):
        speedup = ratios(seconds(baseline, "whole"), whole)
        against_pytorch = [Bar(f"{kind.ratio} / this crate", speedup, limits.speedup, at_least=True)]
    if rounds[0].has(STRAIGHT, tokens, "image_encoder"):
        encoders = ratios(seconds(GRAPH, "image_encoder"), seconds(STRAIGHT, "image_encoder"))
        against_straight = [Bar("image encoder / its straight export", encoders, limits.straight)]
    return [
        *against_pytorch,
        Bar("this crate / FLOP floor", ratios(whole, lambda round_: flops / round_.peak), limits.floor),
        Bar("this crate / ONNX Runtime from Python", ratios(whole, seconds(ONNX, "whole")), limits.onnxruntime),
        *against_straight,
        Bar("second prompt / first, same image", ratios(seconds(CRATE, "second_prompt"), whole), limits.second_prompt),
        Bar(f"{vocabulary.names} names, one encoding / calls of {vocabulary.per_call}", names, limits.names),
        Bar("peak memory, one image", [memory_bytes / 1e9], limits.memory_gb, unit=" GB"),
        Bar("load time, warm disk", load_seconds, limits.load_seconds, unit=" s"),
    ]


def vocabulary_ratio(round_: Round, tokens: int, vocabulary: Vocabulary) -> float:
    """From one call of 40 names, one encoding of the image and one prompt that fills the token budget."""
    call, encoding, prompt = (
        round_.seconds(CRATE, tokens, component) for component in ("names_call", "names_encoding", "names_prompt")
    )
    together = encoding + vocabulary.names / vocabulary.per_prompt * prompt
    return together / (vocabulary.names / vocabulary.per_call * call)
