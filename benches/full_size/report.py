"""The tables, as Markdown, in the results file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median

from . import machine
from .bars import Bar
from .family import STAGES
from .models import Model
from .rounds import CRATE, ONNX, Round

#: How many operators of each graph are told.
OPERATORS = 8
#: What only the crate does; there is no floor to compare it with.
AROUND = ("preprocess", "tokenize", "postprocess")


@dataclass(frozen=True)
class Report:
    model: Model
    #: As the bundle calls it.
    variant: str
    precision: str
    #: Facts about the run, a line each.
    facts: list[str]
    bars: list[Bar]
    rounds: list[Round]
    #: By tokens, then by component.
    flops: dict[int, dict[str, int]]
    #: By contender: peak memory in bytes, and seconds to load.
    memory: dict[str, tuple[float, float]]
    #: By graph, then by operator, most first: seconds.
    profile: dict[str, dict[str, float]]

    @property
    def contenders(self) -> dict[str, str]:
        """Names by contender."""
        pytorch = {name: kind.label for name, kind in self.model.family.torch_kinds.items()}
        return pytorch | {ONNX: "ONNX Runtime from Python", CRATE: "this crate"}

    def markdown(self) -> str:
        first, size = next(iter(self.flops)), f"{self.model.height} x {self.model.width}"
        parts = [
            f"## {self.variant} on a CPU, {size}, {self.precision}, {date.today().isoformat()}",
            "\n".join(f"- {fact}" for fact in self.facts),
        ]
        parts.append(table(["ratio", "measured", "range", "bar", ""], [bar.row() for bar in self.bars]))
        parts.append(
            "Time as a multiple of the floor (the component's FLOPs in our forms, at the measured peak), "
            "median of all rounds; the last row as a multiple of this crate's time."
        )
        parts += [self._components(tokens) for tokens in self.flops]
        rows = [
            [self.contenders[name], f"{bytes_ / 1e9:.2f} GB", f"{seconds:.1f} s"]
            for name, (bytes_, seconds) in self.memory.items()
        ]
        parts.append(table(["", f"peak memory, {first} tokens", "loading the model"], rows))
        parts.append(f"Milliseconds of ONNX Runtime from Python by operator, {first} tokens:")
        parts.append(self._operators())
        return "\n\n".join(parts) + "\n"

    def _operators(self) -> str:
        """A column for each graph, its operators most first."""
        columns = [list(self.profile[stage].items()) for stage in STAGES]
        rows = []
        for rank in range(OPERATORS):
            cells = [column[rank] if rank < len(column) else None for column in columns]
            rows.append([str(rank + 1), *(f"{cell[0]} {1e3 * cell[1]:.1f}" if cell else "" for cell in cells)])
        rows.append(["all", *(f"{1e3 * sum(seconds for _, seconds in column):.1f}" for column in columns)])
        return table(["", *(self.model.family.components[stage] for stage in STAGES)], rows)

    def _components(self, tokens: int) -> str:
        present = [name for name in self.contenders if self.rounds[0].has(name, tokens, "whole")]
        rows = []
        for component, label in (self.model.family.components | {"whole": "**whole**"}).items():
            flops = self.flops[tokens][component]
            cells = [self._times_floor(name, tokens, component, flops) for name in present]
            rows.append([label, f"{flops / 1e9:.1f}", *cells])
        wholes = [self._times_crate(name, tokens) for name in present]
        rows.append(["whole / this crate", "", *wholes])
        heading = [f"{tokens} tokens", "GFLOP", *(self.contenders[name] for name in present)]
        return table(heading, rows) + f"\n\nOf this crate's whole: {self._around(tokens)}."

    def _times_floor(self, name: str, tokens: int, component: str, flops: int) -> str:
        if not self.rounds[0].has(name, tokens, component):
            return ""
        ratios = [round_.seconds(name, tokens, component) * round_.peak / flops for round_ in self.rounds]
        return f"{median(ratios):.2f}"

    def _times_crate(self, name: str, tokens: int) -> str:
        ratios = [
            round_.seconds(name, tokens, "whole") / round_.seconds(CRATE, tokens, "whole") for round_ in self.rounds
        ]
        return f"{median(ratios):.3g}"

    def _around(self, tokens: int) -> str:
        shares = {
            part: median(
                round_.seconds(CRATE, tokens, part) / round_.seconds(CRATE, tokens, "whole") for round_ in self.rounds
            )
            for part in AROUND
        }
        return ", ".join(f"{part} {100 * share:.2g} %" for part, share in shares.items())


def table(heading: list[str], rows: list[list[str]]) -> str:
    lines = [heading, ["---"] + ["---:"] * (len(heading) - 1), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def run_facts(rounds: list[Round], flops: int, tokens: int) -> list[str]:
    peaks = [round_.peak / 1e9 for round_ in rounds]
    floor = flops / 1e9 / median(peaks)
    peak = f"GEMM peak {median(peaks):.0f} GFLOP/s (2048 x 2048 x 2048, float32; {min(peaks):.0f} to {max(peaks):.0f})"
    work = f"one image and {tokens} tokens are {flops / 1e9:.0f} GFLOP, so the floor is {floor:.2f} s"
    return [*machine.description(), f"commit {machine.commit()}", f"{peak}; {work}"]


def write(path: Path, report: Report) -> None:
    put(path, f"bench-{report.model.name}, {report.precision}", report.markdown())


def put(path: Path, name: str, markdown: str) -> None:
    """Puts a report between the markers of its name, or with them at the end."""
    begin, end = (f"<!-- {name}: {edge} -->" for edge in ("begin", "end"))
    block = f"{begin}\n{markdown}{end}\n"
    text = path.read_text(encoding="utf-8") if path.exists() else "# Results\n\n"
    if begin in text and end in text:
        before, rest = text.split(begin, 1)
        after = rest.split(end, 1)[1].removeprefix("\n")
        text = before + block + after
    else:
        text = text.rstrip("\n") + "\n\n" + block
    path.write_text(text, encoding="utf-8")
