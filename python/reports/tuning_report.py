"""Writes the tables of tuning.md: `python reports/tuning_report.py [--runs RUNS --rates RATES]`; of tuning-drawn.md with `--drawn`.

With the folders of `tuning_runs.py` and the files of `context.py` and `tuning_rates.py`, their results go to
tuning_results.json first (tuning_drawn_results.json). The tables are made of that file alone and replace what is between
their marks in the report.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev

HERE = Path(__file__).parent
METHODS = ("linear", "prompt", "full")
SHOTS = (1, 3, 5, 10, "all")
SEEDS = 3
KEPT = ("before", "after", "best_epoch", "epochs", "seconds", "images", "boxes", "trained_parameters")


@dataclass(frozen=True)
class Report:
    file: Path
    results: Path
    #: What the tables call the models.
    models: dict[str, str]
    tasks: tuple[str, ...]

    def named(self, model: str, *rest: str) -> list[str]:
        """The cells of a row that say what it is of: the model's name where there are several."""
        return [self.models.get(model, model), *rest] if len(self.models) > 1 else [*rest]


PHOTOGRAPHS = Report(
    HERE / "tuning.md", HERE / "tuning_results.json", {"nano": "glip-nano"}, ("rabbits", "chess", "bccd")
)
DRAWN = Report(
    HERE / "tuning-drawn.md",
    HERE / "tuning_drawn_results.json",
    {"fused": "fused", "nofusion": "without fusion"},
    ("objects", "bccd"),
)


def collect(arguments: argparse.Namespace) -> dict:
    """What the report needs of the result files."""
    results = {"runs": collect_runs(arguments.runs), "rates": collect_rates(arguments.rates)}
    for kind in ("patient", "joint"):
        if getattr(arguments, kind):
            results[kind] = collect_runs(getattr(arguments, kind))
    if arguments.context:
        results["context"] = json.loads(arguments.context.read_text())
    return results


def result_files(runs: Path) -> list[tuple[str, str, dict]]:
    """Model, task and result of every run in a folder."""
    files = sorted(runs.glob("*/*/*/result.json"))
    return [(*file.parts[-4:-2], json.loads(file.read_text())) for file in files]


def collect_runs(runs: Path) -> list[dict]:
    return [
        {"model": model, "task": task, **{name: result[name] for name in ("method", "shots", "seed", *KEPT)}}
        for model, task, result in result_files(runs)
    ]


def collect_rates(rates: Path) -> list[dict]:
    """What `tuning_rates.py` wrote, or the AP on validation images of the runs in a folder."""
    if rates.is_file():
        return json.loads(rates.read_text())
    return [
        {
            "model": model,
            "task": task,
            "method": result["method"],
            "rate": result["settings"]["learning_rate"],
            "AP": result["after"]["val"]["AP"],
        }
        for model, task, result in result_files(rates)
    ]


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


def score_table(report: Report, results: dict, task: str, measure: str = "AP") -> str:
    rows = []
    for model in report.models:
        before = test_scores(results, measure, "before", model=model, task=task)
        zero = f"{before[0]:.1f}" if before else "not run"
        for method in METHODS:
            scores = [
                cell(test_scores(results, measure, model=model, task=task, method=method, shots=shots))
                for shots in SHOTS
            ]
            rows.append(report.named(model, method, zero, *scores))
    return table(report.named("model", "method", "0 shots", *(f"{shots}" for shots in SHOTS)), rows)


def share_table(report: Report, results: dict) -> str:
    """AP of prompt and linear tuning as a share of full tuning's, means over seeds."""
    rows = []
    for model in report.models:
        for task in report.tasks:
            for method in ("linear", "prompt"):
                shares = []
                for shots in SHOTS:
                    own, full = (
                        test_scores(results, model=model, task=task, method=m, shots=shots) for m in (method, "full")
                    )
                    shares.append(f"{mean(own) / mean(full):.0%}" if own and full and mean(full) else "not run")
                rows.append(report.named(model, task, method, *shares))
    return table(report.named("model", "task", "method", *(f"{shots}" for shots in SHOTS)), rows)


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


def joint_table(report: Report, results: dict) -> str:
    """What is trained as one score beside official's loss, for the same shots and seeds."""
    rows = []
    for task in report.tasks:
        for method in METHODS:
            own = select(results, "joint", task=task, method=method)
            for shots in sorted({run["shots"] for run in own}):
                joint = [run for run in own if run["shots"] == shots]
                seeds = {run["seed"] for run in joint}
                apart = [run for run in select(results, task=task, method=method, shots=shots) if run["seed"] in seeds]
                scores = [
                    cell([100 * run["after"]["test"][measure] for run in runs])
                    for measure in ("AP", "AP50")
                    for runs in (apart, joint)
                ]
                rows.append([task, method, str(shots), *scores])
    columns = [f"{measure}, {loss}" for measure in ("AP", "AP50") for loss in ("official's loss", "product")]
    return table(["task", "method", "shots", *columns], rows)


def size_table(report: Report, results: dict) -> str:
    """How many images and boxes the sets of shots have: the same for all models and methods."""
    rows = []
    for task in report.tasks:
        for shots in SHOTS:
            runs = {run["seed"]: run for run in select(results, task=task, shots=shots)}.values()
            if runs:
                images, boxes = ([run[name]["train"] for run in runs] for name in ("images", "boxes"))
                rows.append([task, str(shots), *(" / ".join(map(str, sorted(set(n)))) for n in (images, boxes))])
    return table(["task", "shots", "images", "boxes"], rows)


def context_table(report: Report, results: dict) -> str:
    found = [model for model in report.models if model in results["context"]]
    forms = results["context"][found[0]]
    rows = [
        [f"`{form}`", *(f"{100 * results['context'][model][form][m]:.1f}" for model in found for m in ("AP", "AP50"))]
        for form in forms
    ]
    return table(["prompt", *(f"{report.models[model]}, {m}" for model in found for m in ("AP", "AP50"))], rows)


def rates_table(report: Report, results: dict) -> str:
    """AP on validation images by learning rate."""
    columns = [(model, task) for model in report.models for task in report.tasks]
    rows = []
    for method in METHODS:
        measured = [entry for entry in results["rates"] if entry["method"] == method]
        found = {(entry["model"], entry["task"], entry["rate"]): entry["AP"] for entry in measured}
        for rate in sorted({rate for *_, rate in found}):
            scores = [found.get((*column, rate)) for column in columns]
            rows.append([method, f"{rate:g}", *("not run" if ap is None else f"{100 * ap:.1f}" for ap in scores)])
    return table(["method", "learning rate", *(", ".join(report.named(*column)) for column in columns)], rows)


def tables(report: Report, results: dict) -> dict[str, str]:
    made = {"share": share_table(report, results), "cost": cost_table(results), "size": size_table(report, results)}
    made["rates"] = rates_table(report, results)
    for task in report.tasks:
        made[task] = score_table(report, results, task)
        made[f"{task}-50"] = score_table(report, results, task, "AP50")
    if "context" in results:
        made["context"] = context_table(report, results)
    if "joint" in results:
        made["joint"] = joint_table(report, results)
    if "patient" in results:
        made["patient"] = patient_table(results)
    return made


def fill(report: Report, text: str, results: dict) -> str:
    return fill_tables(text, tables(report, results), report.file.name)


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
    parser.add_argument("--drawn", action="store_true", help="the report of the model of drawn things")
    for name in ("runs", "patient", "joint", "context", "rates"):
        parser.add_argument(f"--{name}", type=Path)
    arguments = parser.parse_args()
    report = DRAWN if arguments.drawn else PHOTOGRAPHS
    if arguments.runs:
        content = json.dumps(collect(arguments), separators=(",", ":"))
        report.results.write_text(content.replace('{"model"', '\n{"model"') + "\n", encoding="utf-8")
    text, results = report.file.read_text(encoding="utf-8"), json.loads(report.results.read_text(encoding="utf-8"))
    report.file.write_text(fill(report, text, results), encoding="utf-8")


if __name__ == "__main__":
    main()
