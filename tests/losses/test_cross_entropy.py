"""Cross-entropy and its generalised form against numbers worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from debias_pipeline.losses import cross_entropy, generalised_cross_entropy_factor


def generalised_cross_entropy(losses, q):
    return losses * generalised_cross_entropy_factor(losses.detach(), q)


def test_cross_entropy_of_probabilities_known_by_hand():
    # Logits ln 1, ln 3 make probabilities 1/4, 3/4.
    logits = torch.tensor([[[0.0, math.log(3)], [0.0, math.log(3)]]])
    labels = torch.tensor([[0, 1]])
    expected = torch.tensor([[math.log(4), math.log(4 / 3)]])
    torch.testing.assert_close(cross_entropy(logits, labels), expected)


def test_cross_entropy_keeps_all_leading_axes():
    logits = torch.randn(2, 3, 5, 10)
    labels = torch.randint(0, 10, (2, 3, 5))
    each = torch.nn.functional.cross_entropy(logits[1, 2, 3], labels[1, 2, 3])
    assert cross_entropy(logits, labels).shape == (2, 3, 5)
    torch.testing.assert_close(cross_entropy(logits, labels)[1, 2, 3], each)


def test_bfloat16_logits_give_float32_losses():
    losses = cross_entropy(torch.zeros(1, 4, 10, dtype=torch.bfloat16), torch.zeros(1, 4).long())
    assert losses.dtype == torch.float32


def test_generalised_cross_entropy_weighs_by_q_times_probability_to_the_q():
    # p = 1/4, q = 1/2: weight = 1/2 · 1/2, loss = ln 4.
    loss = generalised_cross_entropy(torch.tensor([math.log(4)]), q=0.5)
    torch.testing.assert_close(loss, torch.tensor([math.log(4) / 4]))


@given(st.floats(0.05, 0.95), st.floats(0.1, 1.0))
def test_its_gradient_is_q_times_that_of_the_generalised_cross_entropy(probability, q):
    """Zhang & Sabuncu's loss is (1 − p^q) / q; q times its gradient is that of 1 − p^q."""
    logit = torch.tensor(math.log(probability / (1 - probability)), dtype=torch.float64)
    ours = logit.clone().requires_grad_()
    losses = cross_entropy(torch.stack([ours, torch.zeros_like(ours)])[None], torch.tensor([0]))
    generalised_cross_entropy(losses, q).sum().backward()
    theirs = logit.clone().requires_grad_()
    (1 - torch.sigmoid(theirs) ** q).backward()
    assert ours.grad.item() == pytest.approx(theirs.grad.item(), rel=1e-9)
