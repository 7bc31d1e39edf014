"""A trained network that predicts the labels of images."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from debias_pipeline.biased_data.sources.decoding import decode_images
from debias_pipeline.biased_data.sources.raw_dir import problems_error
from debias_pipeline.errors import UserError
from debias_pipeline.files import METADATA_KEY, read_tensors, replacing, write_tensors
from debias_pipeline.networks.state_files import first_not_finite
from debias_pipeline.training import Checkpoint, restore_method

CHECKPOINT_FILE = "checkpoint.safetensors"
_IMAGES_AT_ONCE = 256


class Classifier(nn.Module):
    """The networks of one seed, from the step that one selection rule selects.

    Image files may have any size: `predict` resizes them to `image_size`. Arrays must have this
    size. Both are then cropped, resized and normalised as in evaluation.

    Example:
        >>> classifier = load_classifier("data/06_models/cmnist_mini/2pct/disent")
        >>> classifier.predict([Path("photo.jpg")])

    Attributes:
        checkpoint: checkpoint with the networks of this rule and seed only.
        label_names: name of each label, by label.
        image_size: height and width to which image files are resized when they are read.
        rule: the selection rule.
        seed: the seed.
    """

    def __init__(self, checkpoint: Checkpoint, rule: str = "last", seed: int | None = None) -> None:
        """Restore networks.

        Args:
            checkpoint: checkpoint of a training run.
            rule: a selection rule.
            seed: one of the checkpoint's seeds; None takes the first.

        Raises:
            UserError: if the checkpoint has no such rule or seed.
        """
        super().__init__()
        self.checkpoint = checkpoint.of_seed(rule, checkpoint.seeds[0] if seed is None else seed)
        method = restore_method(self.checkpoint, rule, torch.device("cpu"))
        self._method = method.requires_grad_(False)
        self.rule, self.seed = rule, self.checkpoint.seeds[0]
        self.label_names, self.image_size = names_and_size(
            checkpoint.origin, checkpoint.classes, checkpoint.image_shape
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return probabilities.

        Args:
            images: uint8, [n, H, W, 3], RGB.

        Returns:
            float32, [n, C].
        """
        pixels = self._method.recipe.transform.for_evaluation(images)
        return self._method.predict(pixels.unsqueeze(0))[0].softmax(-1)

    @torch.inference_mode()
    def probabilities(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the probability of each label.

        Args:
            images: uint8, [n, H, W, 3], RGB, H × W as `image_size`.

        Returns:
            float32, [n, C].

        Raises:
            UserError: if the array has another shape or type.
        """
        expected = (*self.image_size, 3)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected:
            raise UserError(
                f"images are {images.dtype} of shape {list(images.shape)}; give uint8 of shape "
                f"[n, {', '.join(map(str, expected))}]"
            )
        device = next(self.parameters()).device
        parts = [
            self(torch.from_numpy(np.ascontiguousarray(part)).to(device)).cpu().numpy()
            for part in np.split(images, range(_IMAGES_AT_ONCE, len(images), _IMAGES_AT_ONCE))
        ]
        return np.concatenate(parts)

    def predict(self, files: Sequence[Path], names: Sequence[str] | None = None) -> pd.DataFrame:
        """Predict the labels of image files.

        Args:
            files: image files of any size; they are resized to `image_size`.
            names: names of the files in the table; None uses their paths.

        Returns:
            A row per file: file, prediction (a label's name), confidence (its probability), and
            `probability_<label's name>` for each label.

        Raises:
            UserError: if files cannot be decoded; it names the first ten.
        """
        places = [str(file) for file in files] if names is None else list(names)
        bad: dict[int, str] = {}
        images = decode_images(files, bad, self.image_size, resize=True)
        if bad:
            problems = [f"{places[row]}: {reason}" for row, reason in bad.items()]
            raise problems_error(Path(), problems, "Repair or remove what is named.")
        return self.table(places, self.probabilities(images))

    def table(self, names: Sequence[str], probabilities: npt.NDArray[np.float32]) -> pd.DataFrame:
        """Return probabilities as the table that `predict` describes."""
        labels = probabilities.argmax(1)
        return pd.DataFrame(
            {
                "file": list(names),
                "prediction": [self.label_names[label] for label in labels],
                "confidence": probabilities.max(1),
                **{
                    f"probability_{name}": probabilities[:, label]
                    for label, name in enumerate(self.label_names)
                },
            }
        )


def names_and_size(
    origin: Mapping[str, Any], classes: int, image_shape: Sequence[int]
) -> tuple[list[str], tuple[int, int]]:
    """Return the names of a checkpoint's labels, and height and width of its images.

    Args:
        origin: see `Checkpoint`; empty for published checkpoints.
        classes: number of labels.
        image_shape: H, W, 3, as the networks read them.
    """
    names = origin.get("label_names") or range(classes)
    height, width = (origin.get("image_shape") or image_shape)[:2]
    return [str(name) for name in names], (int(height), int(width))


def load_classifier(model: str | Path, rule: str = "last", seed: int | None = None) -> Classifier:
    """Load a trained network.

    Args:
        model: a checkpoint file, a folder that has one (the latest version is taken), or an
            MLflow URI such as `runs:/<id>/model` or `models:/<name>/1`.
        rule: see `Classifier`.
        seed: see `Classifier`.

    Raises:
        UserError: if there is no checkpoint, several methods have one, it is damaged, or the
            network has values that are not finite.
    """
    path = find_checkpoint(model)
    classifier = Classifier(Checkpoint.from_catalog(read_checkpoint(path)), rule, seed)
    bad = first_not_finite(classifier.checkpoint.states[rule][0])
    if bad is not None:
        raise UserError(
            f"{path}: {bad} of the network of rule={rule}, seed {classifier.seed} has values that "
            "are not finite (NaN or infinity); use another rule or seed, or train again"
        )
    return classifier


def find_checkpoint(model: str | Path) -> Path:
    """Find a checkpoint file; see `load_classifier` for the argument and errors."""
    text = str(model)
    if ":/" in text and not Path(text).exists():
        return _only_checkpoint(_downloaded(text), text)
    path = Path(text).expanduser()
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(
            f"model={text} does not exist; give a checkpoint file, the folder of a training run "
            "such as data/06_models/cmnist_mini/2pct/disent, or an MLflow URI"
        )
    return _only_checkpoint(path, text)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint file, which cannot contain code.

    Raises:
        UserError: if it is not a checkpoint of this project.
    """
    try:
        tensors, header = read_tensors(path)
        metadata = json.loads(header[METADATA_KEY])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{path} is not a checkpoint of this project; give one that kedro run wrote, such as "
            f"…/{CHECKPOINT_FILE}"
        ) from error
    return {"tensors": tensors, "metadata": metadata}


def write_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint that `read_checkpoint` reads."""
    saved = checkpoint.to_catalog()
    with replacing(path) as temporary:
        write_tensors(temporary, saved["tensors"], json.dumps(saved["metadata"]))


def _only_checkpoint(folder: Path, text: str) -> Path:
    """Return the latest version of the only checkpoint in a folder."""
    found = sorted(path for path in folder.rglob(CHECKPOINT_FILE) if path.is_file())
    if not found:
        raise UserError(f"model={text} has no {CHECKPOINT_FILE}; train a model first")
    # The path of a versioned file is <name>/<version>/<name>.
    datasets = {
        path.parents[1] if path.parents[1].name == CHECKPOINT_FILE else path for path in found
    }
    if len(datasets) > 1:
        folders = ", ".join(sorted(str(each.parent) for each in datasets))
        raise UserError(f"model={text} has {len(datasets)} checkpoints; choose one of {folders}")
    return found[-1]


def _downloaded(uri: str) -> Path:
    # Imported first: two threads may wait for each other if both import parts of MLflow.
    import mlflow

    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri))
    except (mlflow.MlflowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"model={uri} cannot be downloaded from MLflow: {reason}; check the URI and "
            "MLFLOW_TRACKING_URI"
        ) from error
