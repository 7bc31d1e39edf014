"""Export a trained network to ONNX or TorchScript, for programs that cannot use this package."""

import json
import warnings
from pathlib import Path
from typing import Final, Literal, get_args

import torch

from debias_pipeline.errors import UserError
from debias_pipeline.files import replacing
from debias_pipeline.use.classifier import Classifier

Format = Literal["onnx", "torchscript"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
# Names of the exported function's argument and result.
INPUT, OUTPUT = "images", "probabilities"


def export(classifier: Classifier, path: Path, format: Format) -> None:
    """Write a network with its preprocessing: uint8 images in, probabilities out.

    The input `images` is uint8, [n, H, W, 3], RGB, H × W as `classifier.image_size`; the output
    `probabilities` is float32, [n, C]. The names of the labels are in the file: in ONNX's metadata
    under `label_names`, in TorchScript's extra file `label_names.json`, as a JSON list.

    Args:
        classifier: network to export.
        path: file to write; it is replaced if it exists.
        format: onnx or torchscript.

    Raises:
        UserError: if packages for ONNX are not installed.
    """
    # Fills caches of constants, which would otherwise keep what the exporter makes of them.
    classifier.eval()(_example(classifier))
    write = _write_onnx if format == "onnx" else _write_torchscript
    with replacing(path) as temporary:
        write(classifier, temporary)


def _example(classifier: Classifier) -> torch.Tensor:
    # Two images: the exporter takes a number of one for a constant.
    return torch.zeros(2, *classifier.image_size, 3, dtype=torch.uint8)


def _write_torchscript(classifier: Classifier, path: Path) -> None:
    names = json.dumps(classifier.label_names)
    with torch.no_grad(), warnings.catch_warnings():
        # PyTorch deprecates TorchScript; runtimes that need it are still in use.
        warnings.simplefilter("ignore", FutureWarning)
        # It warns that the size of images becomes a constant, as it should.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        traced = torch.jit.trace(classifier, _example(classifier))  # type: ignore[no-untyped-call]
        # Given a path, PyTorch would write the temporary name into the file.
        with path.open("wb") as file:
            torch.jit.save(traced, file, _extra_files={"label_names.json": names})


def _write_onnx(classifier: Classifier, path: Path) -> None:
    try:
        import onnx
        import onnxscript  # noqa: F401  torch.onnx needs it
    except ModuleNotFoundError as error:
        raise UserError(
            f'format=onnx needs {error.name}, which is not installed; pip install "debias-pipeline'
            '[onnx]", or use --format=torchscript'
        ) from error
    torch.onnx.export(
        classifier,
        (_example(classifier),),
        path,
        input_names=[INPUT],
        output_names=[OUTPUT],
        # The number of images is not fixed by the example. Not a constant of the module: the first
        # `Dim` of a process takes 0.2 s.
        dynamic_shapes={INPUT: {0: torch.export.Dim("n", min=1)}},
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = "label_names", json.dumps(classifier.label_names)
    onnx.save(model, path)
