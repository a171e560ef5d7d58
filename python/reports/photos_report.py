"""Writes the tables of teaching.md's part "On photographs": `python reports/photos_report.py [--runs RUNS]`.

With the folder of `photos_runs.py`, its results go to photos_results.json first. The tables are made of that file alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tuning_report import cell, fill_tables, table

HERE = Path(__file__).parent
REPORT, RESULTS = HERE / "teaching.md", HERE / "photos_results.json"
ARMS = {
    "labelled": "student, 343 photographs that people labelled",
    "taught": "student, 2,514 with the teacher's boxes",
    "both": "student, both",
}
COLUMNS = {"16": "16 held out", "64": "64 others", "all": "80 names"}


def score_table(results: dict, measure: str) -> str:
    def row(name: str, runs: list[dict]) -> list[str]:
        return [name, *(cell([100 * run[column][measure] for run in runs], len(runs)) for column in COLUMNS)]

    rows = [row("teacher: glip-nano", [results["teacher"]]), row("student, before", [results["student"]])]
    for arm, name in ARMS.items():
        rows.append(row(name, [run for run in results["runs"] if run["arm"] == arm]))
    return table(["model", *COLUMNS.values()], rows)


def tables(results: dict) -> dict[str, str]:
    return {"photographs": score_table(results, "AP"), "photographs-50": score_table(results, "AP50")}


def fill(report: str, results: dict) -> str:
    return fill_tables(report, tables(results), REPORT.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path)
    arguments = parser.parse_args()
    if arguments.runs:
        results = json.loads((arguments.runs / "results.json").read_text(encoding="utf-8"))
        content = json.dumps(results, separators=(",", ":")).replace('{"arm"', '\n{"arm"')
        RESULTS.write_text(content + "\n", encoding="utf-8")
    text = REPORT.read_text(encoding="utf-8")
    REPORT.write_text(fill(text, json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
