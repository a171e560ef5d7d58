"""What a converter had to leave out: counted by reason, and a line for each in a file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class Report:
    """`with Report(path) as report: report.skip("image 7", "no size")`. The file exists only if something was left out."""

    def __init__(self, path: Path):
        self.path, self.counts = path, Counter()
        self._file = None

    def skip(self, what: str, kind: str, detail: str = "") -> None:
        """`what` was left out, because of a `kind` of problem that is counted; `detail` says more about this one."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", encoding="utf-8")
        self.counts[kind] += 1
        print(json.dumps({"what": what, "reason": f"{kind}: {detail}" if detail else kind}), file=self._file)

    def summary(self) -> str:
        if not self.counts:
            return "nothing left out"
        reasons = ", ".join(f"{count} x {kind}" for kind, count in sorted(self.counts.items()))
        return f"left out: {reasons}; see {self.path}"

    def __enter__(self) -> Self:
        self.path.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
