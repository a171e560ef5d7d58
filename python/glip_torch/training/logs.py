"""What a run tells: OUT/log.jsonl, the terminal, and TensorBoard if asked for."""

from __future__ import annotations

import json
from pathlib import Path

from tqdm import tqdm

from . import TrainingError


class RunLog:
    """Of the first process; `length` is the run's number of steps, if known, and `step` where it begins."""

    def __init__(self, out: Path, step: int, length: int | None, tensorboard: bool = False):
        # Open as long as the process: what was logged is on disk line by line.
        self._file = (out / "log.jsonl").open("a", encoding="utf-8")
        # On a terminal only; elsewhere every logged step is a line.
        self._bar = tqdm(total=length, initial=step, unit="step", mininterval=1, disable=None)
        self._board = _open_board(out) if tensorboard else None

    def step(self) -> None:
        self._bar.update()

    def write(self, record: dict) -> None:
        print(json.dumps(record), file=self._file, flush=True)
        if self._bar.disable:
            print(" ".join(f"{name} {value}" for name, value in record.items()), flush=True)
        else:
            self._bar.set_postfix({name: record[name] for name in ("token", "box", "centerness")}, refresh=False)
        if self._board is not None:
            for name, value in record.items():
                if name != "step":
                    self._board.add_scalar(name, value, record["step"])
            self._board.flush()

    def close(self) -> None:
        self._file.close()
        self._bar.close()
        if self._board is not None:
            self._board.close()


def _open_board(out: Path):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        raise TrainingError(
            "TensorBoard's logs need the package tensorboard: pip install tensorboard, or leave --tensorboard out"
        ) from None
    return SummaryWriter(str(out / "tensorboard"))
