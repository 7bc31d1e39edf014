"""A trained network as an MLflow model, to be loaded or served."""

import base64
import binascii
import io
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType
from PIL import Image

from debias_pipeline.biased_data.sources.raw_dir import is_inside
from debias_pipeline.errors import UserError
from debias_pipeline.files import link_or_copy
from debias_pipeline.use.classifier import (
    CHECKPOINT_FILE,
    Classifier,
    load_classifier,
    names_and_size,
    write_checkpoint,
)

# Image files are read from this folder only, as those who send requests to a server choose the
# paths; without the variable, from the current folder.
IMAGES_FOLDER: Final = "DEBIAS_PIPELINE_IMAGES"
IMAGE: Final = "image"
_BASE64: Final = "base64:"
_CODE: Final = "code"
_PACKAGE: Final = Path(__file__).parents[1]
# Packages that the model imports; the project's own code is logged with it.
_REQUIREMENTS: Final = (
    *("mlflow", "numpy", "pandas", "pillow", "psutil", "pyarrow", "pydantic", "safetensors"),
    *("scikit-learn", "torch", "torchvision", "tqdm"),
)


class ServedClassifier:
    """Predict labels of images.

    The input has one column, `image`: the path of an image file, an array (uint8, H × W × 3, as
    nested lists in JSON), or the text `base64:` followed by an encoded image file. The output has
    the columns label, confidence, and `probability_<label>` for each label.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    def predict(
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return the predictions.

        Raises:
            MlflowException: if an image is none of the three; a server answers with 400.
        """
        del params
        images = list(model_input[IMAGE])
        names = [f"image {number}" for number in range(len(images))]
        try:
            with tempfile.TemporaryDirectory() as folder:
                files = [
                    _as_file(image, name, Path(folder) / f"{number}.png")
                    for number, (image, name) in enumerate(zip(images, names, strict=True))
                ]
                table = self._classifier.predict(files, names)
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        return table.drop(columns="file").rename(columns={"prediction": "label"})


def _load_pyfunc(path: str, model_config: Mapping[str, Any]) -> ServedClassifier:
    """Load a model; MLflow calls this function of the module that the model names."""
    return ServedClassifier(load_classifier(path, model_config["rule"], model_config["seed"]))


def log_model(model: str | Path, rule: str = "last", seed: int | None = None) -> str:
    """Log a trained network to the active MLflow run, as an MLflow model named `model`.

    Args:
        model: see `load_classifier`.
        rule: selection rule of the network.
        seed: seed of the network; None takes the first.

    Returns:
        The URI of the MLflow model.
    """
    classifier = load_classifier(model, rule, seed)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / CHECKPOINT_FILE
        write_checkpoint(classifier.checkpoint, file)
        info = Model.log(
            None,
            flavor=sys.modules[__name__],
            name="model",
            checkpoint=file,
            described=classifier.checkpoint.to_catalog()["metadata"],
            rule=rule,
        )
    return str(info.model_uri)


def save_model(
    path: str | Path,
    checkpoint: Path,
    described: Mapping[str, Any],
    rule: str = "last",
    mlflow_model: Model | None = None,
) -> None:
    """Write the networks of a training run as an MLflow model, without a tracking store.

    MLflow's own function copies the checkpoint, and takes more than a second to compare the
    requirements with what is installed.

    Args:
        path: folder of the model; created.
        checkpoint: a checkpoint file; the model has a hard link to it where the disk allows.
        described: metadata of the checkpoint; its first seed is used.
        rule: selection rule of the networks that are used.
        mlflow_model: description to complete, given by `Model.log`.
    """
    folder, model = Path(path), mlflow_model or Model()
    names, size = names_and_size(
        described["origin"], described["classes"], described["image_shape"]
    )
    shutil.copytree(
        _PACKAGE, folder / _CODE / _PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__")
    )
    link_or_copy(checkpoint, folder / CHECKPOINT_FILE)
    python = platform.python_version()
    requirements = [f"{name}=={version(name)}" for name in _REQUIREMENTS]
    example = {"columns": [IMAGE], "data": [[_example(size)]]}
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n")
    for name, content in {
        "conda.yaml": {
            "name": "mlflow-env",
            "channels": ["conda-forge"],
            "dependencies": [f"python={python}", "pip", {"pip": requirements}],
        },
        "python_env.yaml": {
            "python": python,
            "build_dependencies": ["pip", "setuptools", "wheel"],
            "dependencies": ["-r requirements.txt"],
        },
        # JSON is YAML.
        "input_example.json": example,
        "serving_input_example.json": {"dataframe_split": example},
    }.items():
        (folder / name).write_text(json.dumps(content, indent=2))
    model.saved_input_example_info = {
        "artifact_path": "input_example.json",
        "serving_input_path": "serving_input_example.json",
        "type": "dataframe",
        "pandas_orient": "split",
    }
    columns = [ColSpec(DataType.string, "label"), ColSpec(DataType.float, "confidence")]
    columns += [ColSpec(DataType.float, f"probability_{name}") for name in names]
    inputs = Schema([ColSpec(AnyType(), IMAGE)])
    model.signature = ModelSignature(inputs, Schema([*columns]))
    mlflow.pyfunc.add_to_model(
        model,
        loader_module=__name__,
        data=CHECKPOINT_FILE,
        code=_CODE,
        conda_env="conda.yaml",
        python_env="python_env.yaml",
        model_config={"rule": rule, "seed": described["seeds"][0]},
    )
    model.model_size_bytes = sum(each.stat().st_size for each in folder.rglob("*"))
    model.save(str(folder / MLMODEL_FILE_NAME))


def _example(image_size: tuple[int, int]) -> str:
    """Return an encoded grey image, a short example of an input."""
    height, width = image_size
    file = io.BytesIO()
    Image.new("RGB", (width, height), "grey").save(file, "PNG")
    return _BASE64 + base64.b64encode(file.getvalue()).decode()


def _as_file(image: Any, name: str, path: Path) -> Path:
    """Return an image as a file, so that all kinds are read in the same way.

    Raises:
        UserError: if it is not an image.
    """
    if isinstance(image, str) and not image.startswith(_BASE64):
        folder = Path(os.environ.get(IMAGES_FOLDER, "."))
        file = folder / image
        if not is_inside(file, folder):
            raise UserError(
                f"{name} is the path {image}, which is outside of {folder.resolve()}; set "
                f"{IMAGES_FOLDER} to the folder of the images"
            )
        return file
    if isinstance(image, str):
        try:
            path.write_bytes(base64.b64decode(image.removeprefix(_BASE64), validate=True))
        except binascii.Error as error:
            raise UserError(f"{name} is not valid base64: {error}") from error
        return path
    Image.fromarray(_pixels(image, name)).save(path)
    return path


def _pixels(image: Any, name: str) -> npt.NDArray[np.uint8]:
    expected = "give a path, base64: and an encoded image, or whole numbers 0 to 255, H x W x 3"
    try:
        array = np.asarray(image)
    except ValueError as error:
        raise UserError(f"{name} has rows of different lengths; {expected}") from error
    if array.ndim != 3 or array.shape[2] != 3 or not array.size or array.dtype.kind not in "iu":
        raise UserError(f"{name} is {array.dtype} of shape {list(array.shape)}; {expected}")
    if array.min() < 0 or array.max() > 255:
        raise UserError(f"{name} has values outside of 0 to 255; {expected}")
    return array.astype(np.uint8)
