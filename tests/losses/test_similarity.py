"""Kernels of features and HSIC."""

import pytest
import torch

from debias_pipeline.losses import hsic, inner_products, rbf_kernel

FIRST = torch.tensor([[[0, 0], [1, 0], [0, 1], [1, 1], [2, 1]]], dtype=torch.float64)
SECOND = torch.tensor([[[0], [1], [1], [0], [2]]], dtype=torch.float64)


def test_hsic_has_the_value_of_the_published_estimator():
    assert hsic(rbf_kernel(FIRST, 1), rbf_kernel(SECOND, 1)).item() == pytest.approx(
        -0.030865, abs=1e-6
    )


def test_hsic_is_near_zero_for_independent_features_and_larger_for_dependent_ones():
    torch.manual_seed(0)
    first, second = torch.randn(2, 5, 200, 3)
    kernels = rbf_kernel(first, 1), rbf_kernel(second, 1)
    assert hsic(*kernels).abs().max() < 0.003
    assert hsic(kernels[0], kernels[0]).min() > 0.02


def test_a_median_width_makes_the_kernel_independent_of_the_scale_of_features():
    squared = torch.cdist(FIRST, FIRST)[0] ** 2
    rows, columns = torch.tril_indices(5, 5, -1)
    width = squared[rows, columns].median()
    expected = torch.exp(-squared / (2 * width)).fill_diagonal_(0)
    for scale in (1, 100):
        torch.testing.assert_close(rbf_kernel(scale * FIRST, None)[0], expected)


def test_equal_features_have_a_finite_gradient():
    features = torch.ones(1, 5, 2, requires_grad=True)
    hsic(rbf_kernel(features, None), rbf_kernel(features, 1)).sum().backward()
    assert features.grad.isfinite().all()


def test_products_are_not_rounded_to_bfloat16():
    features = torch.tensor([[[1.0, 1 / 256]]])
    with torch.autocast("cpu", torch.bfloat16):
        assert inner_products(features).item() == 1 + 2**-16
        assert inner_products(features.bfloat16()).dtype == torch.float32
