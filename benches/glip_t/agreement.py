"""That the contenders compute the same function, before any of them is timed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from glip_torch.export.check import relative_error

from .rounds import Contenders

#: Largest error allowed, relative to each tensor's largest magnitude.
TOLERANCE = 1e-3


class DisagreementError(RuntimeError):
    """Two contenders gave different outputs for the same input."""


def check_agreement(contenders: Contenders, folder: Path, precision: str) -> dict[str, float]:
    """The worst relative error of each Python contender's last outputs against our forms in PyTorch.

    The same prompt must have been their last. The crate runs the graphs that `onnx` stands for; of graphs
    that round more than float32 does, the error is only told.
    """
    outputs = {}
    workers = {"forms": contenders.forms, "official": contenders.official, "onnx": contenders.onnx}
    for name, worker in workers.items():
        path = folder / f"outputs.{name}.npz"
        worker.ask("save", path=str(path))
        outputs[name] = dict(np.load(path))
    errors = {name: worst_error(outputs[name], outputs["forms"]) for name in ("official", "onnx")}
    for name, error in errors.items():
        exact = name == "official" or precision == "fp32"
        # Not `error > TOLERANCE`, which a NaN would pass.
        if exact and not error <= TOLERANCE:
            raise DisagreementError(
                f"{name} and our forms in PyTorch differ by {error:.1e} of the largest magnitude, more than "
                f"{TOLERANCE:.0e}: a bundle must come from the checkpoint that it is compared with"
            )
    return errors


def worst_error(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    errors = []
    for name, value in expected.items():
        if found[name].shape != value.shape:
            raise DisagreementError(f"{name} has shape {found[name].shape}, not {value.shape}")
        errors.append(relative_error(found[name], value))
    return float(np.max(errors))
