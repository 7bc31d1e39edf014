"""A whole run whose catalog lies in a bucket, of a real S3 server on this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs
from throwaway_project import Project

BUCKET = "debias"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[s3fs.S3FileSystem]:
    """An empty bucket; the environment says how to reach it, as on any machine."""
    from moto.server import ThreadedMotoServer  # slow to import

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    store = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    store.mkdir(BUCKET)
    yield store
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_one_line_moves_everything_to_a_bucket(
    bucket: s3fs.S3FileSystem, empty_project: Project
) -> None:
    settings = empty_project.path / "conf" / "local" / "globals.yml"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(f"root: s3://{BUCKET}/mine\n")
    short = {"recipe__steps": 4, "recipe__eval_every": 2, "device": "cpu"}

    outcome = empty_project.run("--pipeline=vanilla", **short)

    assert outcome.exit_code == 0, outcome.stdout + outcome.stderr
    assert empty_project.files("0[3-8]_*/**/*.*") == []
    kept = {Path(path).name for path in bucket.find(f"{BUCKET}/mine")}
    assert {
        "images.npy", "manifest.parquet", "data_card.json", "checkpoint.safetensors",
        "history.parquet", "sample_weights.parquet", "predictions.parquet", "metrics.json",
        "group_accuracy.parquet", "report.html", "sample_grid.svg",
    } <= kept  # fmt: skip
    (report,) = bucket.glob(f"{BUCKET}/mine/08_reporting/*/*/vanilla/report.html/*/report.html")
    assert f"vanilla report: s3://{report}" in outcome.stdout
    (run,) = empty_project.mlflow_runs()
    logged = empty_project.mlflow_client().list_artifacts(run.info.run_id)
    assert [each.path for each in logged] == ["data", "figures", "report.html", "tables"]
    assert len(run.outputs.model_outputs) == 1

    assert empty_project.load("vanilla.figures")["sample_grid"].startswith("<svg")

    # Another machine, which has no copy yet, judges again what lies there.
    metrics = empty_project.load("vanilla.metrics")
    for copy in (empty_project.path.parent / "cache").rglob("*.npy"):
        copy.unlink()
    again = empty_project.run("--pipeline=evaluation", device="cpu")
    assert again.exit_code == 0, again.stdout + again.stderr
    assert empty_project.load("vanilla.metrics") == metrics
    versions = bucket.glob(f"{BUCKET}/mine/08_reporting/*/*/vanilla/metrics.json/*/metrics.json")
    assert len(versions) == 2
