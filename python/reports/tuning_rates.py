"""What the learning rates of `tuning_runs.py` were chosen by: `python reports/tuning_rates.py OUT.json --model ... --task ...`.

Five shots of a seed that no run of the report has, AP on 30 validation images; test images are not looked at.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numba
import torch
from tuning_runs import COMMON, SIDES, Task, named_paths

from glip_torch.tuning.settings import Settings

RATES = {
    "linear": (1e-4, 1e-3, 0.01, 0.03, 0.1),
    "prompt": (0.01, 0.05, 0.2, 1.0),
    "full": (1e-4, 3e-4, 1e-3, 3e-3),
}
SHOTS, SEED, EPOCHS = 5, 77, 15
#: Of the text encoder's rate to the others, as official's.
LANGUAGE_SHARE = 0.1


def measure(task: Task, method: str, rate: float) -> float:
    """The best epoch's AP on the validation images."""
    short_side, long_side = SIDES
    sides = {"short_side": short_side, "long_side": long_side}
    rates = {"learning_rate": rate, "language_rate": rate * LANGUAGE_SHARE}
    settings = Settings(method, SHOTS, SEED, epochs=EPOCHS, **rates, **sides, **COMMON)
    with tempfile.TemporaryDirectory() as out:
        return task.tune(settings.resolved(), Path(out))["after"]["val"]["AP"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", action="append", required=True, metavar="NAME=CHECKPOINT")
    parser.add_argument("--task", action="append", required=True, metavar="NAME=FOLDER")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    torch.set_flush_denormal(True)
    results = []
    for model, checkpoint in named_paths(arguments.model).items():
        for name, folder in named_paths(arguments.task).items():
            task = Task(checkpoint, folder)
            # The validation set stands in for the test set.
            task.data |= {"test": task.data["val"]}
            for method, rates in RATES.items():
                for rate in rates:
                    own = {"model": model, "task": name, "method": method, "rate": rate}
                    results.append(own | {"AP": measure(task, method, rate)})
                    print(results[-1], flush=True)
                    arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
