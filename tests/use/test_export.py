"""What is exported computes what the classifier computes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from use_checkpoints import NAMES, make_checkpoint

from debias_pipeline.use import Classifier
from debias_pipeline.use.export import export

PHOTOS = {"resize": 32, "centre_crop": 28, "normalise": "imagenet"}


@pytest.fixture(
    params=[
        ("disent", (28, 28), {}),
        ("disent", (36, 30), {**PHOTOS, "network": "resnet20"}),
        ("vanilla", (36, 30), {**PHOTOS, "network": "resnet18", "square": True}),
    ],
    ids=["mlp", "resnet20", "resnet18"],
)
def classifier(request: pytest.FixtureRequest) -> Classifier:
    method, size, recipe = request.param
    return Classifier(make_checkpoint(method, size, **recipe))


@pytest.mark.slow
def test_onnxruntime_agrees(
    classifier: Classifier, images: Callable[..., Any], tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    export(classifier, tmp_path / "model.onnx", "onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["label_names"]) == list(NAMES)
    for count in (1, 7):  # the number of images is not fixed by the example that is traced
        pictures = images(count, *classifier.image_size)
        (found,) = session.run(["probabilities"], {"images": pictures})
        np.testing.assert_allclose(found, classifier.probabilities(pictures), atol=1e-4)


@pytest.mark.slow
def test_torchscript_agrees(
    classifier: Classifier, images: Callable[..., Any], tmp_path: Path
) -> None:
    export(classifier, tmp_path / "model.pt", "torchscript")
    extra = {"label_names.json": ""}
    with pytest.warns(FutureWarning):
        loaded = torch.jit.load(tmp_path / "model.pt", _extra_files=extra)
    assert json.loads(extra["label_names.json"]) == list(NAMES)
    for count in (1, 7):
        pictures = images(count, *classifier.image_size)
        found = loaded(torch.from_numpy(pictures)).numpy()
        np.testing.assert_allclose(found, classifier.probabilities(pictures), atol=1e-6)


def test_a_failed_export_leaves_an_earlier_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pt"
    path.write_text("earlier")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no space")

    monkeypatch.setattr(torch.jit, "save", fail)
    with pytest.raises(OSError, match="no space"):
        export(Classifier(make_checkpoint()), path, "torchscript")
    assert [each.name for each in tmp_path.iterdir()] == ["model.pt"]
    assert path.read_text() == "earlier"
