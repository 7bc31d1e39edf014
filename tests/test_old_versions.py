"""`find_old_versions`: which versions of results may be deleted."""

from pathlib import Path

import pytest

from debias_pipeline.old_versions import find_old_versions

VERSIONS = [f"2026-11-2{day}T10.00.00.000Z" for day in range(1, 6)]


def write(root: Path, dataset: str, *versions: str) -> None:
    path = root / dataset
    for version in versions:
        file = path / version / path.name
        file.parent.mkdir(parents=True)
        file.write_text("12345")


def left(root: Path, keep: int) -> dict[str, list[str]]:
    """Delete old versions and return those that are left, by dataset."""
    for each in find_old_versions(root, keep):
        each.delete()
    found: dict[str, list[str]] = {}
    for path in sorted(root.glob("**/*Z")):
        found.setdefault(path.parent.relative_to(root).as_posix(), []).append(path.name)
    return found


@pytest.mark.parametrize("keep", [1, 3, 5, 9])
def test_the_newest_of_every_dataset_are_kept(tmp_path: Path, keep: int) -> None:
    datasets = (
        "08_reporting/cmnist/2pct/disent/report.html",
        "08_reporting/cmnist/2pct/benchmark-1a2b3c4d/disent/metrics.json",
        "07_model_output/folder/a-b/vanilla/history.parquet",
    )
    for dataset in datasets:
        write(tmp_path, dataset, *VERSIONS)
    assert left(tmp_path, keep) == dict.fromkeys(sorted(datasets), VERSIONS[-keep:])


def test_files_and_bytes_are_counted_and_links_of_models_stay(tmp_path: Path) -> None:
    dataset = "06_models/cmnist/2pct/disent/checkpoint.safetensors"
    write(tmp_path, dataset, *VERSIONS[:2])
    model = tmp_path / "model.safetensors"
    model.hardlink_to(tmp_path / dataset / VERSIONS[0] / "checkpoint.safetensors")
    (old,) = find_old_versions(tmp_path, 1)
    assert (len(old.files), old.size, old.linked) == (1, 5, 5)
    old.delete()
    assert model.read_text() == "12345"


def test_what_belongs_to_the_newest_checkpoint_is_kept(tmp_path: Path) -> None:
    method = "cmnist/2pct/disent"
    write(tmp_path, f"06_models/{method}/checkpoint.safetensors", *VERSIONS[:2])
    write(tmp_path, f"07_model_output/{method}/training_record.json", *VERSIONS[:3])
    write(tmp_path, f"07_model_output/{method}/predictions.parquet", *VERSIONS[:3])
    assert left(tmp_path, 1) == {
        f"06_models/{method}/checkpoint.safetensors": VERSIONS[1:2],
        f"07_model_output/{method}/predictions.parquet": VERSIONS[2:3],
        f"07_model_output/{method}/training_record.json": VERSIONS[1:3],
    }


def test_nothing_else_is_found(tmp_path: Path) -> None:
    root, outside = tmp_path / "data", tmp_path / "outside"
    write(root, "01_raw/photos", *VERSIONS)
    write(outside, "results/metrics.json", *VERSIONS)
    layer = root / "08_reporting"
    layer.mkdir()
    (layer / "link").symlink_to(outside / "results")
    (layer / "metrics.json").mkdir()
    for version in VERSIONS:
        (layer / "metrics.json" / version).symlink_to(outside / "results/metrics.json" / version)
    snapshots = root / "06_models/cmnist/2pct/disent/snapshots/1a2b3c4d"
    snapshots.mkdir(parents=True)
    (snapshots / "step-000000100.safetensors").touch()
    write(root, "06_models/named/by/hand.json", "v1", "v2", "v3")
    assert find_old_versions(root, 1) == []


def test_figures_are_deleted_with_their_list_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in VERSIONS[:2]:
        folder = tmp_path / "08_reporting/a/b/disent/figures" / version / "figures"
        folder.mkdir(parents=True)
        for name in ("a.svg", "index.json", "z.svg"):
            (folder / name).touch()
    deleted: list[str] = []
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda path: (deleted.append(path.name), unlink(path)))
    (old,) = find_old_versions(tmp_path, 1)
    old.delete()
    assert deleted[0] == "index.json"
    folder = tmp_path / "08_reporting/a/b/disent/figures"
    assert [path.name for path in folder.iterdir()] == VERSIONS[1:2]
