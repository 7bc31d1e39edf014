from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from debias_pipeline.biased_data.sources import image_files
from debias_pipeline.biased_data.sources.decoding import decode_images, image_sizes
from debias_pipeline.biased_data.sources.image_files import (
    has_image_suffix,
    image_kind,
    problem_of,
    reason_to_leave_out,
)

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
RED = Image.new("RGB", (32, 32), (200, 0, 0))


@pytest.mark.parametrize(
    "suffixes",
    [
        ".jpg .JPEG .jfif .jif .jpe .pjpeg .pjp .mpo",
        ".png .apng .gif .webp .bmp .dib .tif .TIFF .ppm .pgm .ico .psd .qoi",
        ".avif .jp2 .j2k .jpx .tga",
        ".heic .HEIF .hif",
    ],
)
def test_suffixes_of_images(suffixes):
    assert [each for each in suffixes.split() if not has_image_suffix(Path(f"a{each}"))] == []


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("a.pdf", "a.eps", "a.svg", "a.ps", "a.h5", "a.txt", "a", "png"), "not an image"),
        (("a.NEF", "a.cr2", "a.dng"), "camera raw"),
        (("a.mp4", "a.mpg", "a.MOV", "a.avi"), "video"),
    ],
)
def test_other_files_are_no_images(names, reason):
    for name in names:
        assert not has_image_suffix(Path(name)), name
        assert reason_to_leave_out(Path(name)) == reason


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        ("png", "PNG"), ("jpg", "JPEG"), ("gif", "GIF"), ("webp", "WebP"), ("tif", "TIFF"),
        ("bmp", "BMP"), ("avif", "AVIF"), ("jp2", "JPEG 2000"), ("j2k", "JPEG 2000"),
    ],
)  # fmt: skip
def test_images_are_known_by_their_first_bytes_and_decoded_under_any_name(tmp_path, suffix, kind):
    RED.save(tmp_path / f"a.{suffix}")
    other = (tmp_path / f"a.{suffix}").rename(tmp_path / "no suffix")
    assert image_kind(other) == kind
    bad: dict[int, str] = {}
    assert np.abs(decode_images([other], bad)[0].astype(int) - (200, 0, 0)).max() < 6
    assert bad == {}
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(other.read_bytes()[:40])
    decode_images([cut], bad)
    assert kind in bad[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ("empty",)),
        (bytes(600), ("zero bytes",)),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html>404</html>", ("HTML page", "download")),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", ("XML",)),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", ("SVG", "export")),
        (b'{"error": 404}', ("JSON",)),
        ("n\u00f6 image".encode(), ("text",)),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", ("Git LFS", "git lfs pull")),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", ("video",)),
        (b"RIFF\0\0\0\0AVI LIST", ("video",)),
        (b"%PDF-1.7", ("PDF",)),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9", ("PostScript",)),
        (b"PK\3\4", ("ZIP", "unpack")),
        (b"\0\0\0\x0cJXL \r\n\x87\n", ("JPEG XL", "save it as")),
        (b"\x80\x04K\x01.", ("cannot be decoded",)),
    ],
)
def test_what_is_not_an_image_is_named_by_its_first_bytes(tmp_path, content, words):
    for suffix in ("png", "tga"):
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(content)
        bad: dict[int, str] = {}
        decode_images([path], bad)
        assert bad[0] == problem_of(path)
        assert all(word in bad[0] for word in words)


def test_heic_names_the_extra_that_reads_it(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "_readable_formats", lambda: ("PNG", "JPEG"))
    for name in ("a.heic", "a.jpg"):
        (tmp_path / name).write_bytes(HEIC)
        assert "HEIC" in problem_of(tmp_path / name)
        assert "debias-pipeline[heic]" in problem_of(tmp_path / name)
    RED.save(tmp_path / "a.avif")
    monkeypatch.setattr(image_files, "image_suffixes", lambda: frozenset({".png"}))
    assert "update Pillow" in problem_of(tmp_path / "a.avif")


def test_heic_is_decoded_and_rotated_with_the_extra(tmp_path):
    assert has_image_suffix(tmp_path / "a.heic")  # registers the format
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (64, 32), (0, 0, 200))
    image.paste((200, 0, 0), (0, 0, 32, 32))
    image.save(tmp_path / "a.heic", quality=95, exif=exif.tobytes())
    assert image_sizes([tmp_path / "a.heic"], {}) == [(64, 32)]
    bad: dict[int, str] = {}
    (shown,) = decode_images([tmp_path / "a.heic"], bad)
    assert bad == {}
    assert shown.shape == (64, 32, 3)
    assert np.abs(shown[[8, 56], 16].astype(int) - [(200, 0, 0), (0, 0, 200)]).max() < 12
    cut = tmp_path / "cut.heic"
    cut.write_bytes((tmp_path / "a.heic").read_bytes()[:200])
    assert "HEIC" in problem_of(cut)
    assert "pip install" not in problem_of(cut)
