from collections.abc import Callable
from pathlib import Path

import pytest
from fsspec.core import url_to_fs
from kedro.io import DatasetError, Version

from debias_pipeline.io import AtomicTextDataset, FiguresDataset, TablesDataset, versions_of

FIGURES = {"curves": "<svg>é</svg>", "a heat map": "<svg/>"}


@pytest.fixture(params=["local", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "figures") if request.param == "local" else f"memory://{tmp_path}/figures"


def files_in(url: str) -> set[str]:
    """Paths of the files in a folder, relative to it."""
    system, folder = url_to_fs(url)
    return {str(file).removeprefix(f"{folder}/") for file in system.find(folder)}


def test_figures_come_back_in_order(url: str) -> None:
    dataset = FiguresDataset(url)
    assert not dataset.exists()
    dataset.save(FIGURES)
    assert dataset.exists()
    assert list(dataset.load().items()) == list(FIGURES.items())


def test_no_figures_exist_too(url: str) -> None:
    dataset = FiguresDataset(url)
    dataset.save({})
    assert dataset.exists()
    assert dataset.load() == {}


def test_figures_are_files_that_a_browser_opens(tmp_path: Path) -> None:
    FiguresDataset(tmp_path / "figures").save(FIGURES)
    files = {file.name: file.read_text("utf-8") for file in (tmp_path / "figures").glob("*.svg")}
    assert files == {f"{name}.svg": svg for name, svg in FIGURES.items()}


def test_figures_of_an_earlier_save_are_removed(url: str) -> None:
    FiguresDataset(url).save(FIGURES)
    dataset = FiguresDataset(url)
    dataset.save({"curves": "<svg>new</svg>"})
    assert dataset.load() == {"curves": "<svg>new</svg>"}
    assert files_in(url) == {"curves.svg", "index.json"}


def test_versions_are_kept_apart(url: str) -> None:
    for version, svg in (("2026-01-01", "<svg>old</svg>"), ("2026-01-02", "<svg>new</svg>")):
        FiguresDataset(url, Version(None, version)).save({"curves": svg})
    latest = FiguresDataset(url, Version(None, None))
    assert latest.load() == {"curves": "<svg>new</svg>"}
    assert versions_of(latest) == ["2026-01-01", "2026-01-02"]
    older = FiguresDataset(url, Version("2026-01-01", None))
    assert older.load() == {"curves": "<svg>old</svg>"}


def test_a_save_that_fails_leaves_nothing_to_load(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    FiguresDataset(url, Version(None, "2026-01-01")).save(FIGURES)
    dataset = FiguresDataset(url, Version(None, "2026-01-02"))
    monkeypatch.setattr(dataset, "_write", failing_at("a heat map.svg", dataset._write))
    with pytest.raises(DatasetError, match="disk full"):
        dataset.save({**FIGURES, "curves": "<svg>new</svg>"})
    assert FiguresDataset(url, Version(None, None)).load() == FIGURES
    assert not FiguresDataset(url, Version("2026-01-02", None)).exists()


def failing_at(name: str, write: Callable[..., None]) -> Callable[..., None]:
    def fail(path: Path, text: str) -> None:
        if path.name == name:
            raise OSError("disk full")
        write(path, text)

    return fail


def test_damaged_figures_are_one_line_with_the_remedy(tmp_path: Path) -> None:
    dataset = FiguresDataset(tmp_path / "figures")
    with pytest.raises(DatasetError, match="run the pipeline"):
        dataset.load()
    dataset.save(FIGURES)
    (tmp_path / "figures" / "curves.svg").unlink()
    with pytest.raises(DatasetError, match=r"figures is damaged .*: delete it"):
        dataset.load()


def test_a_name_that_leads_out_of_the_folder_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"'\.\./x' is not a file name"):
        FiguresDataset(tmp_path / "figures").save({"../x": "<svg/>"})
    assert list(tmp_path.iterdir()) == []


def test_tables_are_next_to_the_version_of_their_page(url: str) -> None:
    for version in ("2026-01-01", "2026-01-02"):
        AtomicTextDataset(filepath=f"{url}.html", version=Version(None, version)).save("<p>")
        tables = TablesDataset(f"{url}.html", Version(None, version))
        tables.save({"a.csv": f"x\n{version}\n", "a.md": "| x |"})
    latest = TablesDataset(f"{url}.html", Version(None, None))
    assert latest.load()["a.csv"] == "x\n2026-01-02\n"
    page = AtomicTextDataset(filepath=f"{url}.html", version=Version(None, None))
    assert page.load() == "<p>"
    assert files_in(f"{url}.html/2026-01-02") == {
        "figures.html",
        "tables/a.csv",
        "tables/a.md",
        "tables/index.json",
    }
