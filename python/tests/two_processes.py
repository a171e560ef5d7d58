"""A trainer small enough for tests, in this process and in two others."""

from dataclasses import replace

import torch
from test_checkpoint import TINY as CHECKPOINT_TINY
from torch import nn

from glip_torch.config import TextConfig
from glip_torch.data.grounding_batches import ImageOptions
from glip_torch.data.grounding_prompts import PromptOptions
from glip_torch.model import GLIP
from glip_torch.tokenizer import build_tokenizer, nano_vocabulary
from glip_torch.training.initialise import initialise
from glip_torch.training.launch import launch
from glip_torch.training.loop import Trainer
from glip_torch.training.network import Trained
from glip_torch.training.sources import GroundingFiles

TINY = replace(
    CHECKPOINT_TINY,
    text=TextConfig(
        vocab_size=len(nano_vocabulary()), hidden_size=32, layers=1, heads=2, intermediate_size=64, max_positions=128
    ),
)


def build_trainer(out, data, settings, dropout=0.0, resume=None, side=64):
    """A tiny model from scratch on a grounding file."""
    out.mkdir(exist_ok=True)
    torch.manual_seed(settings.seed)
    model = GLIP(TINY)
    initialise(model)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    images = ImageOptions(short_sides=(side,), long_side=128, flip=0.0)
    source = GroundingFiles([data], build_tokenizer(nano_vocabulary()), PromptOptions(max_tokens=64), images)
    return Trainer(Trained(model), source, settings, out, cpu=True, resume=resume)


def train_in_two_processes(out, data, settings):
    """Weights and last gradients of both processes."""
    out.mkdir()
    launch(_train, (out, data, settings), out, processes=2, threads=1, cpu=True)
    return [torch.load(out / f"{rank}.pt") for rank in (0, 1)]


def _train(arguments):
    out, data, settings = arguments
    trainer = build_trainer(out, data, settings)
    trainer.run()
    average = {f"ema {name}": tensor for name, tensor in trainer.state.average.model.state_dict().items()}
    gradients = {name: parameter.grad for name, parameter in trainer.state.trained.named_parameters()}
    result = {"weights": {**trainer.state.trained.state_dict(), **average}, "gradients": gradients}
    torch.save(result, out / f"{trainer.rank}.pt")
