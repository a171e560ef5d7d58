"""Writes the tables of teaching.md: `python reports/teaching_report.py [--runs RUNS --long LONGER_RUNS]`.

With the folders of `teaching_runs.py`, their results go to teaching_results.json first. The tables are made of that file alone
and replace what is between their marks in teaching.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean

from tuning_report import cell, fill_tables, table

HERE = Path(__file__).parent
REPORT, RESULTS = HERE / "teaching.md", HERE / "teaching_results.json"
MODELS = {
    "dyhead": "DyHead",
    "a": "A: no fusion",
    "b": "B: fusion",
    "c": "C: and captions with boxes (the teacher)",
    "student": "student: and labels of C",
}
#: Groups of names (`teaching_runs.GROUPS`) that a closed set has.
CLOSED_GROUPS = ("detected",)
NAMES = {
    "detected": "five names",
    "detected among all": "five names among ten",
    "captioned": "names in captions with boxes",
    "unboxed": "names without boxes",
}
PAIRS = {"said pairs": "said", "unsaid pairs": "unsaid", "unboxed pairs": "names without boxes"}


def collect(runs: Path, long: Path) -> dict:
    """What the report needs of the result files."""
    read = lambda folder, pattern: {f: json.loads(f.read_text()) for f in sorted(folder.glob(pattern))}
    results = {"pretraining": json.loads((runs / "encoder" / "pretraining.json").read_text())}
    for kind, folder in (("runs", runs), ("long", long)):
        results[kind] = list(read(folder, "seed-*/*/result.json").values())
        labels = read(folder, "seed-*/data/labels/quality.json").items()
        results[f"{kind} labels"] = [{"seed": int(f.parts[-4].removeprefix("seed-")), **found} for f, found in labels]
    return results


def values(results: dict, model: str, group: str, measure: str = "AP", kind: str = "runs") -> dict[int, float]:
    """By seed, in percent."""
    runs = [run for run in results[kind] if run["model"] == model]
    return {run["seed"]: 100 * run["scores"][group][measure] for run in runs}


def score_table(results: dict, groups: dict[str, str], measure: str) -> str:
    rows = []
    for model, name in MODELS.items():
        known = lambda group, model=model: model != "dyhead" or group in CLOSED_GROUPS
        cells = [
            cell(list(values(results, model, group, measure).values())) if known(group) else "" for group in groups
        ]
        if any(cells):
            rows.append([name, *cells])
    return table(["model", *groups.values()], rows)


def student_table(results: dict, kind: str) -> str:
    """The teacher, the student, and what the student has more, seed by seed."""
    seeds = sorted({run["seed"] for run in results[kind] if run["model"] == "student"})
    rows = []
    for group, name in (*NAMES.items(), *((group, f"pairs, {name}") for group, name in PAIRS.items())):
        teacher, student = (values(results, model, group, kind=kind) for model in ("c", "student"))
        more = [student[seed] - teacher[seed] for seed in seeds]
        differences = [" ".join(f"{value:+.1f}" for value in more), f"{mean(more):+.1f}"] if more else ["not run"] * 2
        rows.append([name, cell(list(teacher.values())), cell(list(student.values())), *differences])
    return table(
        ["asked for", "teacher", "student", f"student's gain, seeds {', '.join(map(str, seeds))}", "mean"], rows
    )


def label_table(results: dict) -> str:
    rows = []
    for kind, runs in (("runs", "1000 steps"), ("long", "2500 steps")):
        for group, name in (("boxed", "with boxes"), ("unboxed", "without boxes")):
            counts = [found[group] for found in results[f"{kind} labels"]]
            share = lambda part, whole, counts=counts: cell([100 * n[part] / n[whole] for n in counts])
            boxes = cell([n["boxes"] for n in counts])
            rows.append([runs, name, share("labelled", "phrases"), boxes, share("right", "boxes")])
    return table(["teacher", "names in its data", "phrases labelled, %", "boxes", "right boxes, %"], rows)


def pretraining_table(results: dict) -> str:
    found = results["pretraining"]
    rows = [[what, *(f"{share:.1%}" for share in found[what])] for what in ("shapes", "colours")]
    return table(["right", "stage 2", "stage 3", "stage 4"], rows)


def tables(results: dict) -> dict[str, str]:
    return {
        "names": score_table(results, NAMES, "AP"),
        "names-50": score_table(results, NAMES, "AP50"),
        "pairs": score_table(results, PAIRS, "AP"),
        "pairs-50": score_table(results, PAIRS, "AP50"),
        "student": student_table(results, "runs"),
        "student-long": student_table(results, "long"),
        "labels": label_table(results),
        "pretraining": pretraining_table(results),
    }


def fill(report: str, results: dict) -> str:
    return fill_tables(report, tables(results), REPORT.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--long", type=Path)
    arguments = parser.parse_args()
    if arguments.runs and arguments.long:
        content = json.dumps(collect(arguments.runs, arguments.long), separators=(",", ":"))
        RESULTS.write_text(
            content.replace('{"model"', '\n{"model"').replace('{"seed"', '\n{"seed"') + "\n", encoding="utf-8"
        )
    text = REPORT.read_text(encoding="utf-8")
    REPORT.write_text(fill(text, json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
