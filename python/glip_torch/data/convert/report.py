"""What a converter had to leave out, counted by reason, and what looks wrong: a line for each in a file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class Report:
    """`with Report(path) as report: report.skip("image 7", "no size")`. The file exists only if there is something in it."""

    def __init__(self, path: Path):
        self.path, self.counts = path, Counter()
        self.warnings: list[str] = []
        self._file = None

    def skip(self, what: str, kind: str, detail: str = "") -> None:
        """`what` was left out, because of a `kind` of problem that is counted; `detail` says more about this one."""
        self.counts[kind] += 1
        self._add({"what": what, "reason": f"{kind}: {detail}" if detail else kind})

    def warn(self, what: str, detail: str) -> None:
        """`what` was used, but looks wrong."""
        self.warnings.append(f"warning: {what}: {detail}")
        self._add({"what": what, "warning": detail})

    def _add(self, line: dict) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", encoding="utf-8")
        print(json.dumps(line), file=self._file)

    def summary(self, shown: int = 3) -> str:
        reasons = ", ".join(f"{count} x {kind}" for kind, count in sorted(self.counts.items()))
        told = [f"left out: {reasons}" if reasons else "nothing left out", *self.warnings[:shown]]
        if len(self.warnings) > shown:
            told.append(f"{len(self.warnings) - shown} more warnings")
        return "; ".join([*told, f"see {self.path}"] if self._file is not None else told)

    def __enter__(self) -> Self:
        self.path.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
