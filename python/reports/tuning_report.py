"""Writes the tables of tuning.md: `python reports/tuning_report.py [--runs RUNS --patient ... --context ... --rates ...]`.

With the folders of `tuning_runs.py` and the files of `context.py` and `tuning_rates.py`, their results go to
tuning_results.json first. The tables are made of that file alone and replace what is between their marks in tuning.md.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from statistics import mean, median, stdev

HERE = Path(__file__).parent
REPORT, RESULTS = HERE / "tuning.md", HERE / "tuning_results.json"
MODELS = {"fused": "fused", "nofusion": "without fusion"}
TASKS = ("objects", "bccd")
METHODS = ("linear", "prompt", "full")
SHOTS = (1, 3, 5, 10, "all")
SEEDS = 3
KEPT = ("before", "after", "best_epoch", "epochs", "seconds", "images", "boxes", "trained_parameters")


def collect(arguments: argparse.Namespace) -> dict:
    """What the report needs of the result files."""
    return {
        "runs": collect_runs(arguments.runs),
        "patient": collect_runs(arguments.patient),
        "context": json.loads(arguments.context.read_text()),
        "rates": json.loads(arguments.rates.read_text()),
    }


def collect_runs(runs: Path) -> list[dict]:
    entries = []
    for file in sorted(runs.glob("*/*/*/result.json")):
        model, task = file.parts[-4:-2]
        result = json.loads(file.read_text())
        named = {name: result[name] for name in ("method", "shots", "seed", *KEPT)}
        entries.append({"model": model, "task": task, **named})
    return entries


def models_of(results: dict) -> dict[str, str]:
    """The models with runs, and what the tables call them."""
    found = {run["model"] for run in results["runs"]}
    return {model: name for model, name in MODELS.items() if model in found}


def select(results: dict, kind: str = "runs", **wanted) -> list[dict]:
    return [run for run in results[kind] if all(run[name] == value for name, value in wanted.items())]


def test_scores(results: dict, measure: str = "AP", when: str = "after", **wanted) -> list[float]:
    return [100 * run[when]["test"][measure] for run in select(results, **wanted)]


def cell(values: list[float], expected: int = SEEDS) -> str:
    """Mean and standard deviation, with the number of runs where some are missing."""
    if not values:
        return "not run"
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{mean(values):.1f}{spread}" + (f" (of {len(values)})" if len(values) < expected else "")


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def score_table(results: dict, task: str, measure: str = "AP") -> str:
    rows = []
    for model, name in models_of(results).items():
        before = test_scores(results, measure, "before", model=model, task=task)
        zero = f"{before[0]:.1f}" if before else "not run"
        for method in METHODS:
            scores = [
                cell(test_scores(results, measure, model=model, task=task, method=method, shots=shots))
                for shots in SHOTS
            ]
            rows.append([name, method, zero, *scores])
    return table(["model", "method", "0 shots", *(f"{shots}" for shots in SHOTS)], rows)


def share_table(results: dict) -> str:
    """AP of prompt and linear tuning as a share of full tuning's, means over seeds."""
    rows = []
    for model, name in models_of(results).items():
        for task in TASKS:
            for method in ("linear", "prompt"):
                shares = []
                for shots in SHOTS:
                    own, full = (
                        test_scores(results, model=model, task=task, method=m, shots=shots) for m in (method, "full")
                    )
                    shares.append(f"{mean(own) / mean(full):.0%}" if own and full and mean(full) else "not run")
                rows.append([name, task, method, *shares])
    return table(["model", "task", "method", *(f"{shots}" for shots in SHOTS)], rows)


def cost_table(results: dict) -> str:
    """What the runs were like, over models, tasks and seeds: mean epochs and median time."""
    rows = []
    for method in METHODS:
        for kind, shots in (("few", SHOTS[:-1]), ("all", SHOTS[-1:])):
            runs = [run for number in shots for run in select(results, method=method, shots=number)]
            if runs:
                epochs = [f"{mean(run[name] for run in runs):.1f}" for name in ("epochs", "best_epoch")]
                # The median: some runs waited long for the processor.
                rows.append([method, kind, str(len(runs)), *epochs, f"{median(run['seconds'] for run in runs):.0f}"])
    return table(["method", "shots", "runs", "epochs", "best epoch", "seconds"], rows)


def patient_table(results: dict) -> str:
    """Short runs beside ones with official's patience, for the same shots."""
    rows = []
    for task, shots in sorted({(run["task"], run["shots"]) for run in results["patient"]}):
        for method in METHODS:
            same = {"model": "fused", "task": task, "method": method, "shots": shots}
            long = select(results, "patient", **same)
            if long:
                scores = [
                    cell([100 * run["after"]["test"]["AP"] for run in runs]) for runs in (select(results, **same), long)
                ]
                epochs = [f"{mean(run[name] for run in long):.1f}" for name in ("epochs", "best_epoch")]
                rows.append([task, str(shots), method, *scores, *epochs])
    return table(["task", "shots", "method", "AP, short runs", "AP, patient runs", "epochs", "best epoch"], rows)


def size_table(results: dict) -> str:
    """How many images and boxes the sets of shots have: the same for all models and methods."""
    rows = []
    for task in TASKS:
        for shots in SHOTS:
            runs = {run["seed"]: run for run in select(results, task=task, shots=shots)}.values()
            if runs:
                images, boxes = ([run[name]["train"] for run in runs] for name in ("images", "boxes"))
                rows.append([task, str(shots), *(" / ".join(map(str, sorted(set(n)))) for n in (images, boxes))])
    return table(["task", "shots", "images", "boxes"], rows)


def context_table(results: dict) -> str:
    found = [model for model in MODELS if model in results["context"]]
    forms = results["context"][found[0]] if found else {}
    rows = [
        [f"`{form}`", *(f"{100 * results['context'][model][form][m]:.1f}" for model in found for m in ("AP", "AP50"))]
        for form in forms
    ]
    return table(["prompt", *(f"{MODELS[model]}, {m}" for model in found for m in ("AP", "AP50"))], rows)


def rates_table(results: dict) -> str:
    """AP on validation images by learning rate."""
    columns = [(model, task) for model in models_of(results) for task in TASKS]
    rows = []
    for method in METHODS:
        measured = [entry for entry in results["rates"] if entry["method"] == method]
        found = {(entry["model"], entry["task"], entry["rate"]): entry["AP"] for entry in measured}
        for rate in sorted({rate for *_, rate in found}):
            scores = [found.get((*column, rate)) for column in columns]
            rows.append([method, f"{rate:g}", *("not run" if ap is None else f"{100 * ap:.1f}" for ap in scores)])
    return table(["method", "learning rate", *(f"{MODELS[model]}, {task}" for model, task in columns)], rows)


def tables(results: dict) -> dict[str, str]:
    return {
        "objects": score_table(results, "objects"),
        "objects-50": score_table(results, "objects", "AP50"),
        "bccd": score_table(results, "bccd"),
        "bccd-50": score_table(results, "bccd", "AP50"),
        "share": share_table(results),
        "cost": cost_table(results),
        "size": size_table(results),
        "context": context_table(results),
        "rates": rates_table(results),
        "patient": patient_table(results),
    }


def fill(report: str, results: dict) -> str:
    return fill_tables(report, tables(results), REPORT.name)


def fill_tables(report: str, tables: dict[str, str], name: str) -> str:
    """The report with its tables; each stands between `<!-- name -->` and `<!-- end -->`."""
    for title, content in tables.items():
        mark = re.compile(rf"(<!-- {title} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not mark.search(report):
            raise ValueError(f"{name} has no place for the table {title!r}")
        report = mark.sub(lambda match, content=content: f"{match[1]}{content}\n{match[2]}", report)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("runs", "patient", "context", "rates"):
        parser.add_argument(f"--{name}", type=Path)
    arguments = parser.parse_args()
    if arguments.runs:
        content = json.dumps(collect(arguments), separators=(",", ":"))
        RESULTS.write_text(content.replace('{"model"', '\n{"model"') + "\n", encoding="utf-8")
    text = REPORT.read_text(encoding="utf-8")
    REPORT.write_text(fill(text, json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
