"""Find files of a listing that cannot be used, and remove images from a listing."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from debias_pipeline.biased_data.folder.listing import Listing
from debias_pipeline.biased_data.sources.image_files import OTHER_FILES, image_kind
from debias_pipeline.biased_data.sources.raw_dir import FileNotes, ProblemsError, problems_error

_REMEDY = "Repair or remove these"


@dataclass(frozen=True)
class BadFiles:
    """Collect the files of a folder or table that cannot be used, with the reasons.

    Attributes:
        reasons: file, relative to the folder → why it cannot be used.
        messages: one per file, with the row of the table that lists it.
    """

    reasons: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def add(self, listing: Listing, invalid: Mapping[int, str]) -> None:
        """Add images of a listing.

        Args:
            invalid: row → why its file cannot be used.
        """
        for row, reason in invalid.items():
            self.reasons[listing.source[row]] = reason
            self.messages.append(f"{listing.rows[row]}: {reason}")

    def error(self, where: Path, problems: Sequence[str], *, offer: bool) -> ProblemsError:
        """Return an error about these files and other problems.

        Args:
            where: the table or folder.
            problems: messages.
            offer: whether to offer skip_bad, if there are no other problems.
        """
        count = len(self.reasons)
        files = f"{count:,} files" if count > 1 else "this file"
        also = f", or add skip_bad=true to go on without {files}"
        return problems_error(
            where,
            [*problems, *self.messages],
            f"{_REMEDY}{also if offer and not problems else ''}.",
            [*(("", problem) for problem in problems), *self.reasons.items()],
        )


def with_unnamed_images(notes: FileNotes, folder: Path) -> FileNotes:
    """Return notes in which images by their first bytes are bad files, not left out.

    Args:
        notes: files relative to `folder`.
        folder: the first bytes of the files that are left out for their suffix are read.
    """
    found = {}
    for file, reason in notes.left_out.items():
        if reason == OTHER_FILES and (kind := image_kind(folder / file)):
            suffix = Path(file).suffix
            named = f"its suffix {suffix} is not that of one" if suffix else "it has no suffix"
            found[file] = f"is a {kind} image, but {named}; rename it, or move it to another folder"
    left_out = {file: reason for file, reason in notes.left_out.items() if file not in found}
    return FileNotes(left_out, notes.bad | found)


def without_rows(listing: Listing, rows: Collection[int]) -> Listing:
    """Return a listing without some of its images.

    Args:
        rows: numbers of the images to remove.
    """
    kept = [row for row in range(len(listing.rows)) if row not in rows]

    def of_kept(values: Sequence[Any]) -> list[Any]:
        return [values[row] for row in kept]

    return replace(
        listing,
        rows=of_kept(listing.rows),
        path=of_kept(listing.path),
        source=of_kept(listing.source),
        label=of_kept(listing.label),
        bias=of_kept(listing.bias),
        attributes={name: of_kept(texts) for name, texts in listing.attributes.items()},
        split=of_kept(listing.split),
        extra=None if listing.extra is None else listing.extra.iloc[kept],
    )


def lost_values(before: Listing, after: Listing) -> list[str]:
    """Return a message for each label and split of which no image is left."""
    return [
        f"{what} {value!r}: none of its files can be used"
        for what, old, new in (
            ("label", before.label, after.label),
            ("split", before.split, after.split),
        )
        for value in sorted({*old} - {*new, ""})
    ]
