"""The table."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Row:
    """A contender at one precision."""

    name: str
    precision: str
    #: Median milliseconds of a batch, by its size.
    ms: dict[int, float] = field(default_factory=dict)
    failed: bool = False


def markdown(rows: list[Row], batches: list[int], facts: list[str]) -> str:
    """Speed is relative to the first row."""
    columns = ["contender", "precision"]
    for batch in batches:
        columns += [f"ms, batch {batch}", "images/s", "speed"]
    lines = [_line(columns), _line(["---"] * len(columns))]
    lines += [_line(_cells(row, rows, batches)) for row in rows]
    return "\n".join([*(f"- {fact}" for fact in facts), "", *lines, ""])


def _cells(row: Row, rows: list[Row], batches: list[int]) -> list[str]:
    cells = [row.name, row.precision]
    for batch in batches:
        ms, first = row.ms.get(batch), rows[0].ms.get(batch)
        cells += [f"{ms:.1f}", f"{1e3 * batch / ms:.1f}"] if ms else ["failed", ""]
        cells.append(f"{first / ms:.2f}" if first and ms else "")
    return cells


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
