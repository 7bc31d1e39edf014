"""A logged model predicts as the checkpoint does, in MLflow and through its server."""

import base64
import json
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from use_checkpoints import make_checkpoint

from debias_pipeline.tracking import (
    FINISHED,
    Destination,
    active_run,
    end_run,
    set_tracking_uri,
    start_run,
)
from debias_pipeline.use import Classifier
from debias_pipeline.use.classifier import write_checkpoint
from debias_pipeline.use.mlflow_model import log_model, save_model
from forked import ForkedProcess
from mlflow_store import empty_database, mlflow_command

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder, before = tmp_path_factory.mktemp("store"), mlflow.get_tracking_uri()
    (folder / "mlflow.db").write_bytes(empty_database())
    set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    write_checkpoint(make_checkpoint("disent"), folder / "run/checkpoint.safetensors")
    yield folder
    set_tracking_uri(before)


@pytest.fixture(scope="module")
def uri(store: Path) -> str:
    """The model that a run logs."""
    checkpoint = store / "run/checkpoint.safetensors"
    metadata = make_checkpoint("disent").to_catalog()["metadata"]
    start_run(
        Destination(f"sqlite:///{store}/mlflow.db", "", "models", (store / "mlruns").as_uri()),
        store / "pending",
        "run",
    )
    active_run().log_model(lambda folder: save_model(folder, checkpoint, metadata))
    active_run().wait()
    uri = f"runs:/{active_run().run_id}/model"
    end_run(FINISHED)
    return uri


@pytest.fixture(scope="module")
def chosen_uri(uri: str, store: Path) -> str:
    """The model of another rule and seed, logged by the command."""
    mlflow.set_experiment("models")
    with mlflow.start_run():
        return log_model(store / "run", "selected", 4)


@pytest.fixture
def photos(tmp_path: Path, images: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    pictures = images(2, 12, 10)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    monkeypatch.setenv("DEBIAS_PIPELINE_IMAGES", str(tmp_path))
    return pictures


@pytest.mark.parametrize(("model", "choice"), [("uri", ()), ("chosen_uri", ("selected", 4))])
def test_paths_arrays_and_encoded_files_are_predicted_alike(
    model: str,
    choice: tuple[Any, ...],
    photos: Any,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    loaded = mlflow.pyfunc.load_model(request.getfixturevalue(model))
    encoded = "base64:" + base64.b64encode((tmp_path / "0.png").read_bytes()).decode()
    inputs = ["0.png", encoded, photos[0], photos[0].tolist(), "1.png"]
    found = loaded.predict(pd.DataFrame({"image": inputs}))
    classifier = Classifier(make_checkpoint("disent"), *choice)
    expected = classifier.probabilities(photos)[[0, 0, 0, 0, 1]]
    probabilities = found[[f"probability_{name}" for name in classifier.label_names]]
    np.testing.assert_allclose(probabilities.to_numpy(), expected, atol=1e-6)
    assert list(found["label"]) == [classifier.label_names[each] for each in expected.argmax(1)]


def test_the_model_has_a_signature_an_example_and_pinned_requirements(uri: str) -> None:
    info = mlflow.models.get_model_info(uri)
    assert info.signature.inputs.input_names() == ["image"]
    assert {"label", "confidence"} <= set(info.signature.outputs.input_names())
    model = mlflow.pyfunc.load_model(uri)
    assert len(model.predict(model.input_example)) == 1
    requirements = Path(mlflow.pyfunc.get_model_dependencies(uri)).read_text().split()
    assert all("==" in each for each in requirements)


@pytest.fixture
def server(uri: str, tmp_path: Path, store: Path) -> Iterator[str]:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = ForkedProcess(
        mlflow_command,
        *("models", "serve", f"--model-uri={uri}", f"--port={port}", "--env-manager=local"),
        output=tmp_path / "server.log",
        folder=tmp_path,
        environment={
            **os.environ,
            "MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db",
            # MLflow starts the server by the name of its executable.
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        },
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            try:
                urllib.request.urlopen(f"{address}/ping")
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        process.kill_all()


def test_a_server_answers_and_refuses_malformed_bodies(
    server: str, photos: Any, tmp_path: Path
) -> None:
    def post(body: bytes) -> tuple[int, str]:
        request = urllib.request.Request(
            f"{server}/invocations", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def ask(*images: Any) -> tuple[int, str]:
        records = [{"image": each} for each in images]
        return post(json.dumps({"dataframe_records": records}).encode())

    status, answer = ask("0.png", photos[0].tolist())
    first, second = json.loads(answer)["predictions"]
    assert status == 200 and first == second
    (tmp_path / "text.png").write_text("no image")
    for wrong in ("/etc/passwd", "../outside.png", "nowhere.png", "text.png", "base64:@", None, 3,
                  [[1, 2], [3]], [[[256, 0, 0]]], {"a": 1}):  # fmt: skip
        status, answer = ask(wrong)
        assert status == 400, (wrong, answer)
        assert "Traceback" not in answer
    for body in (b"{", b"[]", b"{}", b'{"dataframe_records": [{"photo": 1}]}'):
        assert post(body)[0] == 400, body
    assert ask("1.png")[0] == 200
