import struct

import numpy as np
import pytest
from PIL import Image
from small_folders import GIF_OF_100_MEGAPIXELS

from debias_pipeline.biased_data.sources import decoding, partial_array
from debias_pipeline.biased_data.sources.decoding import decode_images, image_sizes

# Every corner another colour, so that no turning goes unseen.
PICTURE = np.zeros((16, 24, 3), np.uint8)
PICTURE[:8, :12] = (255, 0, 0)
PICTURE[:8, 12:] = (0, 255, 0)
PICTURE[8:, :12] = (0, 0, 255)
PICTURE[8:, 12:] = (255, 255, 0)
# EXIF orientation → what was done to the picture before it was stored. Written out by hand from
# the standard: "the 0th row is the visual …, the 0th column is the visual …".
STORED = {
    1: lambda a: a,  # top, left
    2: lambda a: a[:, ::-1],  # top, right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.transpose(1, 0, 2),  # left, top
    6: lambda a: a[:, ::-1].transpose(1, 0, 2),  # right, top
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
    8: lambda a: a[::-1].transpose(1, 0, 2),  # left, bottom
}


def decode(path, size=None, resize=False) -> np.ndarray:
    bad: dict[int, str] = {}
    images = decode_images([path], bad, size, resize=resize)
    assert bad == {}
    return images[0]


def complaint(path, size=None) -> str:
    bad: dict[int, str] = {}
    decode_images([path], bad, size)
    return bad[0]


@pytest.mark.parametrize("kind", ["jpg", "jfif", "png", "webp", "tif", "avif"])
def test_exif_orientation_is_undone(tmp_path, kind):
    fine = {"quality": 95, "subsampling": "4:4:4"}
    options = {"png": {}, "webp": {"lossless": True}, "tif": {}}.get(kind, fine)
    for orientation, store in STORED.items():
        path = tmp_path / f"{orientation}.{kind}"
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = Image.fromarray(np.ascontiguousarray(store(PICTURE)))
        stored.save(path, exif=exif, **options)
        assert image_sizes([path], {}) == [(16, 24)]
        shown = decode(path)
        assert shown.shape == PICTURE.shape
        # The middle of each quarter, where JPEG is true.
        assert np.abs(shown[4::8, 6::12].astype(int) - PICTURE[4::8, 6::12]).max() < 12


def test_broken_exif_is_passed_over(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.jpg", exif=b"Exif\0\0nonsense")
    assert decode(tmp_path / "a.jpg").shape == PICTURE.shape


GREY = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
DEEP = Image.fromarray(np.array([[0, 256, 257, 32_768, 65_535]], np.uint16))
CLEAR = Image.fromarray(np.array([[(9, 9, 9, 0), (100, 0, 0, 255), (0, 0, 0, 128)]], np.uint8))
PALETTE = Image.fromarray(PICTURE).quantize(8)
RED = {"transparency": PALETTE.getpixel((0, 0))}
WHITE_FOR_RED = np.where((PICTURE == (255, 0, 0)).all(2, keepdims=True), 255, PICTURE)
FRAMES = [Image.new("RGB", (3, 2), (value, 0, 0)) for value in (10, 200)]
# File → what is saved, how, and the pixels that a viewer shows.
SHOWN = {
    "grey.png": (Image.fromarray(GREY), {}, GREY[..., None]),
    "one bit.png": (Image.fromarray(GREY > 100), {}, np.where(GREY > 100, 255, 0)[..., None]),
    "palette.png": (PALETTE, {}, PICTURE),
    "palette.gif": (PALETTE, {}, PICTURE),
    "the upper 8 of 16 bits.png": (DEEP, {}, np.array([[[0], [1], [1], [128], [255]]])),
    "the upper 8 of 16 bits.tif": (DEEP, {}, np.array([[[0], [1], [1], [128], [255]]])),
    "the upper 8 of 16 bits.pgm": (DEEP, {}, np.array([[[0], [1], [1], [128], [255]]])),
    "clear grey of 16 bits.png": (DEEP, {"transparency": 256}, [[[0], [255], [1], [128], [255]]]),
    "colours.tga": (Image.fromarray(PICTURE), {}, PICTURE),
    "colours.jp2": (Image.fromarray(PICTURE), {}, PICTURE),
    "deep.j2k": (DEEP, {}, np.array([[[0], [1], [1], [128], [255]]])),
    "the first page.tif": (FRAMES[0], {"save_all": True, "append_images": FRAMES[1:]}, (10, 0, 0)),
    # What is transparent lies on white.
    "clear.png": (CLEAR, {}, [[[255] * 3, [100, 0, 0], [127] * 3]]),
    "clear.webp": (CLEAR, {"lossless": True}, [[[255] * 3, [100, 0, 0], [127] * 3]]),
    "clear palette.png": (PALETTE, RED, WHITE_FOR_RED),
    "clear palette.gif": (PALETTE, RED, WHITE_FOR_RED),
    "clear red.png": (Image.fromarray(PICTURE), {"transparency": (255, 0, 0)}, WHITE_FOR_RED),
    "clear grey.png": (Image.new("LA", (2, 1), (50, 0)), {}, 255),
    "the first frame.gif": (FRAMES[0], {"save_all": True, "append_images": FRAMES[1:]}, (10, 0, 0)),
}


@pytest.mark.parametrize("name", SHOWN)
def test_every_kind_of_image_is_as_a_viewer_shows_it(tmp_path, name):
    image, options, expected = SHOWN[name]
    image.save(tmp_path / name, **options)
    assert (decode(tmp_path / name) == expected).all()


@pytest.mark.parametrize(
    ("bits", "black", "stored", "shown"),
    [(16, 1, [0, 65_535], [0, 255]), (16, 0, [0, 65_535], [255, 0]), (12, 1, [0, 4095], [0, 255])],
)
def test_deep_scans_keep_their_black_and_white(tmp_path, bits, black, stored, shown):
    deep = np.array(stored, "<u2").tobytes()
    pixels = deep if bits == 16 else (stored[0] << 12 | stored[1]).to_bytes(3, "big")
    tags = {256: 2, 257: 1, 258: bits, 259: 1, 262: black, 273: 134, 277: 1, 278: 1}
    entries = [
        struct.pack("<HHII", tag, 3, 1, value) for tag, value in {**tags, 279: len(pixels)}.items()
    ]
    header = b"II*\0" + struct.pack("<IH", 8, len(entries))
    data = (header + b"".join(entries)).ljust(134, b"\0") + pixels
    (tmp_path / "scan.tif").write_bytes(data)
    assert decode(tmp_path / "scan.tif")[0, :, 0].tolist() == shown


def test_inks_become_light(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(decode(tmp_path / "a.jpg").astype(int) - (255, 0, 0)).max() < 6


def test_resizing_takes_the_whole_image(tmp_path):
    Image.fromarray(PICTURE).resize((600, 400), Image.Resampling.NEAREST).save(
        tmp_path / "a.jpg", quality=95
    )
    shown = decode(tmp_path / "a.jpg", (8, 12), resize=True)
    assert np.abs(shown[2::4, 3::6].astype(int) - PICTURE[4::8, 6::12]).max() < 12


def test_size_of_most_is_expected_of_all(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for i, path in enumerate(paths):
        Image.new("RGB", (9, 9) if i == 0 else (5, 6)).save(path)
    bad: dict[int, str] = {}
    images = decode_images(paths, bad)
    assert images.shape == (4, 6, 5, 3)
    assert bad == {0: "is 9x9, but others are 6x5"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("float.tif", "32-bit pixels"),
        ("lab.tif", "LAB colours"),
        ("none.png", "does not exist"),
        (".", "is a folder, not an image"),
    ],
)
def test_what_can_not_be_shown_says_why(tmp_path, name, reason):
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "float.tif")
    Image.new("LAB", (2, 2)).save(tmp_path / "lab.tif")
    assert reason in complaint(tmp_path / name)


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
def test_too_many_pixels_are_refused_by_the_header_without_a_warning(tmp_path):
    path = tmp_path / "a.gif"
    for side in (10_000, 30_000):
        path.write_bytes(GIF_OF_100_MEGAPIXELS.replace(b"\x10\x27", side.to_bytes(2, "little")))
        bad: dict[int, str] = {}
        assert image_sizes([path], bad) == [None]
        assert bad == {0: "has more than 80 megapixels; make it smaller"}


def test_order_and_content_are_the_same_in_memory_and_in_a_file(tmp_path, monkeypatch):
    paths = []
    for i in range(30):
        paths.append(tmp_path / f"{i}.png")
        Image.new("RGB", (5, 6), (i, 0, 0)).save(paths[-1])
    monkeypatch.setattr(decoding, "_CHUNK", 4)
    in_memory = decode_images(paths, {})
    monkeypatch.setattr(partial_array, "MAX_IN_MEMORY", 10)
    in_file = decode_images(paths, {})
    assert isinstance(in_file, np.memmap)
    assert in_memory[:, 0, 0, 0].tolist() == list(range(30))
    assert np.array_equal(in_memory, in_file)


def test_without_a_terminal_lines_say_how_many_images_are_decoded(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(decoding, "SECONDS_BETWEEN_LINES", 0)
    path = tmp_path / "0.png"
    Image.new("RGB", (2, 2)).save(path)
    with caplog.at_level("INFO"):
        decode_images([path] * 100, {}, name="photos")
    assert "Decode photos: 64 of 100 images" in caplog.text
