"""What a run is made of: three recipes, every number of which is an option of the command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Settings:
    """The defaults are official's for pre-training GLIP-T."""

    seed: int = 1
    #: Length of the run, in steps (then it is exactly reproducible) or in minutes of training.
    steps: int | None = None
    minutes: float | None = None
    #: Examples of a process at a time, and how many times that makes a step.
    batch: int = 4
    accumulate: int = 1
    precision: Literal["no", "bf16", "fp16"] = "no"

    learning_rate: float = 1e-4
    #: Of the text encoder, which is pre-trained on far more words than detection data has.
    language_rate: float = 1e-5
    #: Of fusion, where it is new in a detector that works without (default: as the rest).
    fusion_rate: float | None = None
    #: "step" divides the rates by ten at two thirds and at eight ninths of the run; "cosine" lowers them all the way.
    schedule: Literal["step", "cosine"] = "step"
    #: Where the cosine ends, as a share of the rates.
    final_share: float = 0.01
    warm_up: int = 2000
    betas: tuple[float, float] = (0.9, 0.999)
    #: On matrices; biases, gains and norms keep their scale.
    weight_decay: float = 1e-4
    gradient_clip: float = 1.0
    #: Memory of the averaged weights, which are what is kept.
    ema: float = 0.999
    #: Share a target of 1 among the tokens of a phrase, as official, or train each of them towards 1 (`losses`).
    shared_target: bool = True
    #: Train the product of words' and centerness' scores, for a head whose centerness is objectness (`losses`).
    joint_score: bool = False
    #: Leave the image encoder as it is, where it has seen far more than the data can show it.
    freeze_image_encoder: bool = False
    #: Share of numbers that dropout leaves out (default: BERT's own, 0.1).
    dropout: float | None = None
    #: Weight of the attribute probes' loss at the start; it falls to zero by the end.
    probe_weight: float = 0.0

    log_every: int = 20
    save_minutes: float = 4.0
    #: Keep a state of every so many steps, to go on from any of them (0: only the last one).
    keep_every: int = 0

    def resumable(self) -> dict:
        """What has to be the same when a run is resumed.

        Its length may change, and how the examples of a step are shared out, as long as their number does not.
        """
        free = {"steps", "minutes", "log_every", "save_minutes", "keep_every", "batch", "accumulate"}
        return {name: value for name, value in vars(self).items() if name not in free}


#: A model from scratch, without pre-trained parts, as long as the patience lasts: how glip-drawn was made.
NANO = Settings(
    batch=8,
    learning_rate=1e-3,
    language_rate=1e-3,
    schedule="cosine",
    warm_up=200,
    betas=(0.9, 0.99),
    weight_decay=0.05,
    shared_target=False,
    dropout=0.0,
    probe_weight=2.0,
)
#: A detector that works, whose fusion has done nothing yet: how glip-nano learns to listen. What it can do it unlearns slowly,
#: so all but the fusion goes slowly.
GATED = Settings(
    batch=8,
    learning_rate=1e-4,
    language_rate=2e-5,
    fusion_rate=1e-3,
    schedule="cosine",
    warm_up=300,
    weight_decay=0.05,
    ema=0.9985,
    shared_target=False,
    joint_score=True,
    freeze_image_encoder=True,
    dropout=0.0,
)
#: A pre-trained model on data of one's own.
OFFICIAL = Settings()
RECIPES = {"nano": NANO, "gated": GATED, "official": OFFICIAL}
