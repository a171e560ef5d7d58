import argparse
import json

import pytest
import torch

from glip_torch import train
from glip_torch.checkpoint import load_checkpoint
from glip_torch.config import NANO


class Interrupted(Exception):
    pass


@pytest.fixture
def small_scenes(monkeypatch, one_thread):
    monkeypatch.setattr(train, "STAGES", ((0.0, 64, 1),))
    monkeypatch.setattr(train, "LOG_EVERY", 1)


def trainer(out, steps):
    out.mkdir(exist_ok=True)
    options = {"steps": steps, "minutes": None, "processes": 1, "seed": 3, "no_fusion": False, "save_minutes": 60}
    return train.Trainer(argparse.Namespace(out=out, **options), rank=0)


def test_a_resumed_run_ends_in_the_same_state(tmp_path, small_scenes, monkeypatch):
    whole = trainer(tmp_path / "whole", 3)
    whole.run()

    interrupted = trainer(tmp_path / "interrupted", 3)
    step = interrupted._step

    def stop_after_two_steps(*arguments):
        if interrupted.step == 2:
            interrupted._save()
            raise Interrupted
        return step(*arguments)

    monkeypatch.setattr(interrupted, "_step", stop_after_two_steps)
    with pytest.raises(Interrupted):
        interrupted.run()
    resumed = trainer(tmp_path / "interrupted", 3)
    assert resumed.step == 2
    resumed.run()

    for name, tensor in whole.trained.state_dict().items():
        assert torch.equal(tensor, resumed.trained.state_dict()[name]), name
    for name, tensor in whole.average.model.state_dict().items():
        assert torch.equal(tensor, resumed.average.model.state_dict()[name]), name
    steps = [json.loads(line)["step"] for line in (tmp_path / "interrupted" / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3]


def test_checkpoints_are_official_ones_with_the_averaged_weights(tmp_path, small_scenes):
    run = trainer(tmp_path, 1)
    run.run()
    model = load_checkpoint(tmp_path / "model.pth", text_heads=NANO.text.heads)
    assert model.config == run.model.config
    for name, tensor in run.average.model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name


def test_training_lowers_the_loss_of_one_batch(small_scenes, tmp_path, monkeypatch):
    run = trainer(tmp_path, 12)
    batch = train.SceneBatches(run.tokenizer, seed=3, size=1).load(0, 64)
    monkeypatch.setattr(train.SceneBatches, "load", lambda *_: batch)
    run.run()
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert records[-1]["token"] < 0.7 * records[0]["token"]


def test_the_model_stays_under_four_million_parameters():
    assert sum(parameter.numel() for parameter in train.GLIP(NANO).parameters()) < 4_000_000


def test_schedules():
    assert train.stage(0.0) == train.STAGES[0][1:] and train.stage(1.0) == train.STAGES[-1][1:]
    assert train.learning_rate(0, 0.0) == pytest.approx(train.LEARNING_RATE / train.WARM_UP_STEPS)
    assert train.learning_rate(10_000, 1.0) == pytest.approx(train.FINAL_LEARNING_RATE)
    assert train.simple_share(0.0) == 1 > train.simple_share(0.1) > train.simple_share(0.5) > 0
