"""Waterbirds: birds cut out of photographs, biased by the background."""

from pathlib import Path
from typing import ClassVar, Final

from debias_pipeline.biased_data.base import BiasedData, BiasedDataset, DataOptions, SetSize
from debias_pipeline.biased_data.sources.download import download
from debias_pipeline.biased_data.sources.entries import Entry, entries_hash, read_entries
from debias_pipeline.biased_data.sources.found_set import FoundSet, find_set, unpacked
from debias_pipeline.biased_data.sources.raw_dir import check_raw_dir
from debias_pipeline.names import SPLITS, Headline

FOLDER: Final = "waterbird_complete95_forest2water2"
TABLE: Final = "metadata.csv"
URL: Final = f"https://nlp.stanford.edu/data/dro/{FOLDER}.tar.gz"

# The published transform resizes to 256 × 256 and keeps the central 224 × 224 pixels.
_RESIZED: Final = (256, 256)
_SIDE: Final = 224
_NUMBERS: Final = ("0", "1")
_REMEDY: Final = f"Repair or remove these, or unpack {FOLDER}.tar.gz again."


class Waterbirds(BiasedDataset):
    """The published data set: 95 % of the training birds are on the background of their kind.

    In the validation and test splits, each kind of bird is on both backgrounds equally often.
    """

    name: ClassVar[str] = "waterbirds"
    headline: ClassVar[Headline] = "worst_group_accuracy"
    label_name: ClassVar[str] = "bird"
    bias_name: ClassVar[str] = "background"
    label_names: ClassVar[tuple[str, ...]] = ("landbird", "waterbird")
    bias_names: ClassVar[tuple[str, ...]] = ("land", "water")
    has_percents: ClassVar[bool] = False
    size: ClassVar[SetSize | None] = SetSize(4_795, 1_199, 5_794, _SIDE, _SIDE, 2)

    def build(
        self, percent: str, raw_dir: Path, seed: int, options: DataOptions | None = None
    ) -> BiasedData:
        """Read the published folder, or its archive, which is downloaded if both are missing.

        Args:
            percent: only recorded in the data card.
            raw_dir: contains waterbird_complete95_forest2water2/metadata.csv, or is that folder,
                or contains the archive waterbird_complete95_forest2water2.tar.gz.
            seed: for the data card only; nothing is random.

        Returns:
            images uint8, N × 224 × 224 × 3: resized to 256 × 256, of which the centre is kept.

        Raises:
            UserError: if the data set is missing and cannot be downloaded, or anything is wrong
                with the table or a file.
        """
        check_raw_dir(raw_dir)
        found = _find(raw_dir)
        if found is None:
            archive = raw_dir / f"{FOLDER}.tar.gz"
            remedy = (
                f"download it in a browser and put it there, or unpack it there as "
                f"{FOLDER}/{TABLE}, or set raw_dir=… to the folder that contains it."
            )
            download(URL, archive, remedy)
            found = FoundSet(FOLDER, archive, raw_dir, archive)
        with unpacked(found, _has_table, f"{FOLDER}/{TABLE}") as opened:
            problems: list[str] = []
            entries = _list(opened, problems)
            return read_entries(
                self,
                sorted(entries, key=lambda entry: SPLITS.index(entry.split)),
                problems,
                where=found.where,
                remedy=_REMEDY,
                percent=percent,
                seed=seed,
                origin=f"published {'archive' if found.archive else 'folder'} {FOLDER}",
                size=_RESIZED,
                resize=True,
                crop=_SIDE,
            )

    def raw_hash(self, percent: str, raw_dir: Path, options: DataOptions) -> str | None:
        """Hash names, sizes and times of the listed images, and the content of the table.

        Of an archive, hash its name, size and time.
        """
        found = _find(raw_dir)
        if found is None:
            return None
        table = b"" if found.archive else (found.folder / TABLE).read_bytes()
        return entries_hash(found, lambda: _list(found, []), table)


def _find(raw_dir: Path) -> FoundSet | None:
    return find_set(FOLDER, raw_dir, _has_table, any_folder=True)


def _has_table(folder: Path) -> bool:
    path = folder / TABLE
    if not path.is_file():
        return False
    with path.open("rb") as file:
        header = file.readline(1000)
    return all(column in header for column in (b"img_filename", b"y", b"split", b"place"))


def _list(found: FoundSet, problems: list[str]) -> list[Entry]:
    """List the images of the table, in its order."""
    from debias_pipeline.biased_data.folder.tables import list_table  # imports pandas

    listing = list_table(found.folder, found.folder / TABLE)
    problems += listing.problems
    entries = []
    for row, path, source, label, bias, split in zip(
        *(listing.rows, listing.path, listing.source, listing.label, listing.bias, listing.split),
        strict=True,
    ):
        for column, value in (("y", label), ("place", bias)):
            if value not in _NUMBERS:
                problems.append(f"{row}: {column} {value!r} is not 0 or 1")
        # What else is wrong with a row is among the problems of the listing.
        named = next((each for each in SPLITS if each == split), None)
        if source and named and {label, bias} <= {*_NUMBERS}:
            is_conflicting = label != bias
            place = f"{found.name}/{source}"
            entries.append(Entry(path, place, named, int(label), int(bias), is_conflicting))
    return entries
