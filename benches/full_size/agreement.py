"""That the contenders compute the same function, before any of them is timed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .family import Family
from .rounds import ONNX, Contenders

#: Largest error allowed, relative to each tensor's largest magnitude.
TOLERANCE = 1e-3


class DisagreementError(RuntimeError):
    """Two contenders gave different outputs for the same input."""


def check_agreement(contenders: Contenders, family: Family, folder: Path, precision: str) -> dict[str, float]:
    """The worst relative error of each Python contender's last outputs against the last in PyTorch.

    The same prompt must have been their last. The crate runs the graphs that `onnx` stands for; of graphs
    that round more than float32 does, the error is only told.
    """
    outputs = {}
    for name, worker in (contenders.torch | {ONNX: contenders.onnx}).items():
        path = folder / f"outputs.{name}.npz"
        worker.ask("save", path=str(path))
        outputs[name] = dict(np.load(path))
    reference = list(contenders.torch)[-1]
    expected = outputs.pop(reference)
    errors = {name: worst_error(family, found, expected) for name, found in outputs.items()}
    for name, error in errors.items():
        exact = name != ONNX or precision == "fp32"
        # Not `error > TOLERANCE`, which a NaN would pass.
        if exact and not error <= TOLERANCE:
            raise DisagreementError(
                f"{name} and {family.torch_kinds[reference].label} differ by {error:.1e} of the largest magnitude, more "
                f"than {TOLERANCE:.0e}: a bundle must come from the checkpoint that it is compared with"
            )
    return errors


def worst_error(family: Family, found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    errors = []
    for name, value in expected.items():
        if found[name].shape != value.shape:
            raise DisagreementError(f"{name} has shape {found[name].shape}, not {value.shape}")
        errors.append(family.error(name, found[name], value))
    return float(np.max(errors))
