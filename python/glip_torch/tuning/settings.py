"""Everything that a tuning run can be told, and official GLIP's values for what it is not told."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ..config import OFFICIAL
from . import TuningError
from .methods import METHODS

#: How often an epoch goes through a set of so many shots (official's "general copy"): epochs then are about as long.
COPIES = {1: 8, 3: 4, 5: 2}


@dataclass(frozen=True)
class Settings:
    """None is for what depends on the method or the shots; `resolved` fills it in."""

    method: str = "prompt"
    #: At least so many boxes of every category; None for the whole training set.
    shots: int | None = None
    seed: int = 0
    learning_rate: float | None = None
    #: Of the text encoder, which only `full` trains.
    language_rate: float | None = None
    weight_decay: float | None = None
    batch: int = 4
    epochs: int = 200
    copies: int | None = None
    step_patience: int | None = None
    stop_patience: int | None = None
    #: The learning rate is multiplied by it on a plateau, and does not fall below `least_rate`.
    rate_factor: float = 0.1
    least_rate: float = 1e-6
    #: Largest norm of all gradients together.
    gradient_clip: float = 1.0
    #: Whether a phrase's tokens share a target of 1, as official GLIP is trained, or each of them has it.
    shared_target: bool = OFFICIAL.shared_target
    #: Train the product of words' and centerness' scores, for a model whose centerness is objectness (`losses`).
    joint_score: bool = False
    short_side: int = OFFICIAL.short_side
    long_side: int = OFFICIAL.long_side
    max_tokens: int = 256
    #: At most so many validation images; None for all.
    validation_images: int | None = None

    def resolved(self) -> Settings:
        """These settings without None where official has a value; raises `TuningError` for values that cannot be."""
        if self.method not in METHODS:
            raise TuningError(f"unknown method {self.method!r}: known are {', '.join(METHODS)}")
        method, patience = METHODS[self.method], (2, 4) if self.shots is None else (3, 8)
        defaults = {
            "learning_rate": method.learning_rate,
            "language_rate": method.language_rate,
            "weight_decay": method.weight_decay,
            "copies": COPIES.get(self.shots, 1),
            "step_patience": patience[0],
            "stop_patience": patience[1],
        }
        given = asdict(self)
        filled = Settings(**{name: defaults.get(name) if value is None else value for name, value in given.items()})
        filled._check()
        return filled

    def _check(self) -> None:
        positive = ("learning_rate", "batch", "epochs", "copies", "stop_patience", "gradient_clip", "short_side")
        for name in positive:
            if not getattr(self, name) > 0:
                raise TuningError(f"{name} {getattr(self, name)} is not positive")
        for name in ("language_rate", "weight_decay", "step_patience", "least_rate"):
            if not getattr(self, name) >= 0:
                raise TuningError(f"{name} {getattr(self, name)} is negative")
        for name in ("shots", "validation_images"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise TuningError(f"{name} {getattr(self, name)} is not positive")
        if not 0 < self.rate_factor <= 1:
            raise TuningError(f"rate_factor {self.rate_factor} is not in (0, 1]")
        if self.long_side < self.short_side:
            raise TuningError(f"short_side {self.short_side} and long_side {self.long_side} do not make a size")
