"""A trained network as an MLflow model, to be loaded or served."""

import base64
import binascii
import io
import os
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType
from PIL import Image

from debias_pipeline.biased_data.sources.raw_dir import is_inside
from debias_pipeline.errors import UserError
from debias_pipeline.use.classifier import CHECKPOINT_FILE, load_classifier, write_checkpoint

# Image files are read from this folder only, as those who send requests to a server choose the
# paths; without the variable, from the current folder.
IMAGES_FOLDER: Final = "DEBIAS_PIPELINE_IMAGES"
IMAGE: Final = "image"
_BASE64: Final = "base64:"
_MODEL_CODE: Final = Path(__file__).with_name("served_model.py")
_PACKAGE: Final = Path(__file__).parents[1]
# Packages that the model imports; the project's own code is logged with it.
_REQUIREMENTS: Final = (
    *("mlflow", "numpy", "pandas", "pillow", "psutil", "pyarrow", "pydantic", "safetensors"),
    *("scikit-learn", "torch", "torchvision", "tqdm"),
)


class ServedClassifier(PythonModel):
    """Predict labels of images.

    The input has one column, `image`: the path of an image file, an array (uint8, H × W × 3, as
    nested lists in JSON), or the text `base64:` followed by an encoded image file. The output has
    the columns label, confidence, and `probability_<label>` for each label.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read the checkpoint that was logged with the model."""
        config = context.model_config
        self._classifier = load_classifier(
            context.artifacts[CHECKPOINT_FILE], config["rule"], config["seed"]
        )

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return the predictions.

        Raises:
            MlflowException: if an image is none of the three; a server answers with 400.
        """
        del context, params
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


def log_model(model: str | Path, rule: str = "last", seed: int | None = None) -> str:
    """Log a trained network to the active MLflow run, as an MLflow model named `model`.

    Args:
        model: see `load_classifier`.
        rule: selection rule of the network.
        seed: seed of the network; None uses the first one.

    Returns:
        The URI of the MLflow model.
    """
    classifier = load_classifier(model, rule, seed)
    columns = [ColSpec(DataType.string, "label"), ColSpec(DataType.float, "confidence")]
    columns += [ColSpec(DataType.float, f"probability_{name}") for name in classifier.label_names]
    inputs = Schema([ColSpec(AnyType(), IMAGE)])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / CHECKPOINT_FILE
        write_checkpoint(classifier.checkpoint, file)
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=_MODEL_CODE,
            artifacts={CHECKPOINT_FILE: str(file)},
            model_config={"rule": rule, "seed": classifier.seed},
            code_paths=[str(_PACKAGE)],
            signature=ModelSignature(inputs, Schema([*columns])),
            input_example=pd.DataFrame({IMAGE: [_example(classifier.image_size)]}),
            pip_requirements=[f"{name}=={version(name)}" for name in _REQUIREMENTS],
        )
    return str(info.model_uri)


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
