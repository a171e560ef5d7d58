"""Deep fusion's two forms are one function."""

import pytest
import torch

from glip_torch.config import FusionConfig
from glip_torch.fusion import BiAttention


@pytest.mark.parametrize("width", [32, 8])  # of the image's states: wider and narrower than a head
def test_training_computes_what_evaluation_does_and_so_do_its_gradients(width):
    torch.manual_seed(1)
    fusion = BiAttention(width, 24, FusionConfig(embed_dim=64, heads=4), gain=1.0)
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    levels = [torch.randn(2, width, side, side + 1) for side in (8, 4, 2)]
    attention_mask = torch.tensor([[1] * 11, [1] * 5 + [0] * 6])
    results = []
    for training in (True, False):
        hidden = torch.randn(2, 11, 24, generator=torch.Generator().manual_seed(2)).requires_grad_()
        fusion.train(training).zero_grad()
        fused, text = fusion(levels, hidden, attention_mask)
        (sum(level.sin().sum() for level in fused) + text.sin().sum()).backward()
        gradients = [parameter.grad.clone() for parameter in fusion.parameters()]
        results.append([*fused, text, hidden.grad, *gradients])
    for trained, evaluated in zip(*results):
        assert torch.allclose(trained, evaluated, rtol=1e-4, atol=1e-4 * float(evaluated.abs().max()))
