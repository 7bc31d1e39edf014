"""Tell image files from others by their suffix, and by their first bytes."""

import codecs
import mimetypes
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from PIL import Image

# Pillow's names of the formats that are read. Its other formats run programs (EPS), are videos, or
# contain data instead of pictures.
_FORMATS: Final = (
    *("PNG", "JPEG", "MPO", "GIF", "WEBP", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000", "HEIF"),
    *("ICO", "PCX", "PSD", "QOI", "SGI", "SUN"),
)
# Its files do not begin with a signature, so that only the suffix can tell.
_WITHOUT_SIGNATURE: Final = "TGA"
# Names of JPEG and HEIC that Pillow does not register (HEIC only without the extra).
_MORE_SUFFIXES: Final = frozenset(
    {".jif", ".jfi", ".pjpeg", ".pjp", ".heic", ".heif", ".hif", ".heics", ".heifs"}
)
_RAW_SUFFIXES: Final = frozenset(
    {".3fr", ".arw", ".bay", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq"}
    | {".k25", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw"}
    | {".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"}
)

HEIC_REMEDY: Final = "pip install 'debias-pipeline[heic]' or save it as JPEG"
OTHER_FILES: Final = "not an image"
_RAW: Final = "camera raw"
_VIDEO: Final = "video"

_HEAD_BYTES: Final = 512
_SIGNATURES: Final = (
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (8, b"WEBP", "WebP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (4, b"jP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (4, b"JXL \r\n\x87\n", "JPEG XL"),
    (0, b"8BPS", "Photoshop"),
)
# After "BM", a file size and an offset, the size of one of the known headers.
_BMP_HEADERS: Final = frozenset({12, 40, 52, 56, 64, 108, 124})
# Brands in the first box of files of the MP4 family; the others are videos.
_BRANDS: Final = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"), "HEIC"),
    **dict.fromkeys((b"hevm", b"hevs", b"mif1", b"msf1"), "HEIC"),
}
_OTHER_SIGNATURES: Final = (
    (0, b"version https://git-lfs", "a Git LFS pointer; run git lfs pull"),
    (0, b"/annex/objects/", "a git-annex pointer; run git annex get"),
    (0, b"%PDF", "a PDF document; export its pages as PNG"),
    (0, b"%!PS", "a PostScript file; export it as PNG"),
    (4, b"ftyp", "a video; extract images from it"),
    (4, b"moov", "a video; extract images from it"),
    (8, b"AVI ", "a video; extract images from it"),
    (0, b"\x1aE\xdf\xa3", "a video; extract images from it"),
    (0, b"\0\0\1\xba", "a video; extract images from it"),
    (0, b"FLV", "a video; extract images from it"),
    (0, b"PK\3\4", "a ZIP archive; unpack it"),
    (0, b"\x1f\x8b", "a gzip archive; unpack it"),
    (0, b"Rar!", "a RAR archive; unpack it"),
    (0, b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (0, b"\x89HDF", "an HDF5 file; export its images as PNG"),
    (0, b"\x93NUMPY", "a NumPy array; save it as PNG"),
)


@cache
def image_suffixes() -> frozenset[str]:
    """Return the suffixes of image files, in lower case: those of Pillow, and a few of our own.

    The suffixes of HEIC are among them even if the extra `heic` is not installed, so that such
    files are not left out but reported.
    """
    registered = _registered()
    return frozenset(_MORE_SUFFIXES.union(*(registered.get(name, ()) for name in _all_formats())))


def has_image_suffix(path: Path) -> bool:
    """Return whether a file is an image by its suffix."""
    return path.suffix.lower() in image_suffixes()


def formats_of(path: Path) -> tuple[str, ...]:
    """Return the names of the Pillow formats that a file may have, whatever its suffix says."""
    readable = _readable_formats()
    if path.suffix.lower() in _registered().get(_WITHOUT_SIGNATURE, ()):
        return (*readable, _WITHOUT_SIGNATURE)
    return readable


def reason_to_leave_out(path: Path) -> str:
    """Return why a file without the suffix of an image is left out."""
    if path.suffix.lower() in _RAW_SUFFIXES:
        return _RAW
    kind, _ = mimetypes.guess_type(path.name)
    return _VIDEO if (kind or "").startswith("video/") else OTHER_FILES


def image_kind(path: Path) -> str:
    """Return the format of an image by its first bytes, such as "PNG"; "" for other files."""
    return _image_kind(_head(path))


def problem_of(path: Path) -> str:
    """Say what kind of file, by its first bytes, could not be decoded, and what to do.

    Returns:
        The end of a sentence that begins with the name of the file.
    """
    head = _head(path)
    if kind := _image_kind(head):
        return _problem_of_image(kind)
    if not head:
        return "is empty (0 bytes)"
    if not any(head):
        return "contains only zero bytes; copy it again"
    if kind := _other_kind(head):
        return f"is not an image but {kind}"
    return "cannot be decoded as an image"


def _problem_of_image(kind: str) -> str:
    readable = _readable_formats()
    if kind == "HEIC" and "HEIF" not in readable:
        return f"is a HEIC image; {HEIC_REMEDY}"
    if kind == "JPEG XL":
        return "is a JPEG XL image, which is not supported; save it as JPEG or PNG"
    if kind == "AVIF" and ".avif" not in image_suffixes():
        return "is an AVIF image, which the installed Pillow cannot read; update Pillow"
    return f"cannot be decoded: this {kind} image is damaged, or Pillow does not read its kind"


def _all_formats() -> tuple[str, ...]:
    return (*_FORMATS, _WITHOUT_SIGNATURE)


@cache
def _readable_formats() -> tuple[str, ...]:
    _registered()  # loads all formats
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@cache
def _registered() -> dict[str, set[str]]:
    """Return the suffixes of each Pillow format, after loading all of them."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    suffixes: dict[str, set[str]] = {}
    for suffix, name in Image.registered_extensions().items():
        suffixes.setdefault(name, set()).add(suffix)
    return suffixes


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""


def _image_kind(head: bytes) -> str:
    for offset, signature, kind in _SIGNATURES:
        if head.startswith(signature, offset):
            return kind
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if head[4:8] != b"ftyp":
        return ""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = (head[8:12], *(head[start : start + 4] for start in range(16, length, 4)))
    kinds = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
    # The general brand mif1 stands in files of both kinds.
    return "AVIF" if "AVIF" in kinds else kinds[0] if kinds else ""


def _other_kind(head: bytes) -> str:
    for offset, signature, kind in _OTHER_SIGNATURES:
        if head.startswith(signature, offset):
            return kind
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in text:
        return "an HTML page; download the image again"
    if b"<svg" in text:
        return "an SVG drawing; export it as PNG"
    if text.startswith(b"<?xml"):
        return "an XML file; download the image again"
    if text.startswith((b"{", b"[")) and _is_text(head):
        return "JSON text; download the image again"
    return "text; download the image again" if _is_text(head) else ""


def _is_text(head: bytes) -> bool:
    try:
        # Accepts a last character that is cut off.
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)
