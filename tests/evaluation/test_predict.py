"""Predictions leave the networks as they are."""

from debias_pipeline.evaluation import predict
from training.tiny_runs import tiny_data, tiny_method, tiny_recipe


def test_modules_keep_their_modes() -> None:
    method = tiny_method(tiny_recipe("lff"), (0,))
    method.train()
    frozen = next(method.children()).eval()
    predict(method, tiny_data(), "valid", "fp32")
    assert method.training and not any(module.training for module in frozen.modules())
