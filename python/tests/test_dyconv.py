from pathlib import Path

import numba
import pytest
import torch
from torchvision.ops import deform_conv2d as reference

from glip_torch import deform_conv_cpu
from glip_torch.deform_conv_cpu import deform_conv2d
from glip_torch.dyconv import DeformableBranch, reread


@pytest.mark.parametrize("height, width, stride", [(7, 9, 1), (8, 8, 2), (5, 3, 2), (1, 1, 1)])
def test_training_deform_conv_equals_torchvision_and_so_do_its_gradients(height, width, stride):
    torch.manual_seed(0)
    rows, columns = (height - 1) // stride + 1, (width - 1) // stride + 1
    x = torch.randn(2, 16, height, width, requires_grad=True)
    # Offsets of several pixels reach past every border.
    offset = (3 * torch.randn(2, 18, rows, columns)).requires_grad_()
    mask = torch.rand(2, 9, rows, columns, requires_grad=True)
    weight = torch.randn(16, 16, 3, 3, requires_grad=True)
    bias = torch.randn(16, requires_grad=True)

    def run(convolve):
        y = convolve(x, offset, weight, bias, stride=stride, padding=1, mask=mask)
        return y, *torch.autograd.grad(y.square().sum(), [x, offset, mask, weight, bias])

    for ours, theirs in zip(run(deform_conv2d), run(reference)):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item() + 1e-6)


def test_shapes_are_known_without_values():
    """The benchmark counts operations on the meta device."""
    with torch.device("meta"):
        branch = DeformableBranch(16, stride=2).eval()
        found = branch(torch.empty(1, 16, 10, 12), torch.empty(1, 18, 5, 6), torch.empty(1, 9, 5, 6))
    assert found.shape == (1, 16, 5, 6)


def test_compiled_functions_are_kept_in_the_users_cache_unless_told(monkeypatch, tmp_path):
    def function():
        pass

    monkeypatch.setattr(deform_conv_cpu, "CACHE", tmp_path / "users")
    for given, folder in (("", "users"), (str(tmp_path / "given"), "given")):
        monkeypatch.setattr(numba.config, "CACHE_DIR", given)
        kept = Path(deform_conv_cpu._compiled(function).stats.cache_path)
        assert kept.is_relative_to(tmp_path / folder)
        # Where other packages' functions are kept is theirs to say.
        assert given == numba.config.CACHE_DIR
    for compiled in (deform_conv_cpu._forward, deform_conv_cpu._backward):
        assert not Path(compiled.stats.cache_path).is_relative_to(Path(deform_conv_cpu.__file__).parent)


def test_reread_takes_the_first_values_in_memory():
    field = torch.arange(2 * 18 * 4 * 6.0).view(2, 18, 4, 6)
    coarser = torch.empty(2, 1, 2, 3)
    expected = torch.stack([image.flatten()[: 18 * 6].view(18, 2, 3) for image in field])
    assert torch.equal(reread(field, coarser), expected)
