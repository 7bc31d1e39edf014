import numpy as np
import pytest
import torch

from debias_pipeline.errors import UserError
from debias_pipeline.training import choose_device
from debias_pipeline.training.device import prepared


def test_cpu_is_always_there():
    assert choose_device("cpu") == torch.device("cpu")


def test_auto_prefers_an_accelerator():
    expected = "cuda" if torch.cuda.is_available() else None
    assert choose_device("auto").type == (expected or choose_device("auto").type)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_refused_in_one_line():
    with pytest.raises(UserError, match=r"device=cuda is not available.*device=auto"):
        choose_device("cuda")


def test_denormal_numbers_are_zero_while_training_and_count_again_afterwards_on_all_threads():
    # Long enough that PyTorch's threads share the work, and there before it starts.
    smallest = torch.from_numpy(np.full(2**21, 1e-40, np.float32))

    def share_that_counts():
        bits = (smallest * 1.0).view(torch.int32)
        return (bits != 0).float().mean().item()

    assert share_that_counts() == 1
    with prepared(torch.device("cpu")):
        assert share_that_counts() == 0
    assert share_that_counts() == 1
