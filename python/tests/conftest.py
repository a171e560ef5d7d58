"""What several test files need."""

import numba
import pytest
import torch


@pytest.fixture
def one_thread():
    """As a training process has it; with more, sums differ in their last bits from run to run."""
    threads = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    yield
    torch.set_num_threads(threads[0])
    numba.set_num_threads(threads[1])
