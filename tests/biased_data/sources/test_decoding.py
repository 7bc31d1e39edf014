import numpy as np
import pytest
from PIL import Image

from debias_pipeline.biased_data.sources import decoding
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
    problems: list[str] = []
    images = decode_images([path], [path.name], problems, size, resize=resize)
    assert problems == []
    return images[0]


def complaint(path, size=None) -> str:
    problems: list[str] = []
    decode_images([path], ["here"], problems, size)
    (only,) = problems
    return only


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_undone(tmp_path, kind, orientation):
    path = tmp_path / f"a.{kind}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](PICTURE)))
    options = {"quality": 95, "subsampling": 0} if kind == "jpg" else {}
    options |= {"lossless": True} if kind == "webp" else {}
    stored.save(path, exif=exif, **options)
    assert image_sizes([path], ["here"], []) == [(16, 24)]
    shown = decode(path)
    assert shown.shape == PICTURE.shape
    # The middle of each quarter, where JPEG is true.
    assert np.abs(shown[4::8, 6::12].astype(int) - PICTURE[4::8, 6::12]).max() < 12


def test_broken_exif_is_passed_over(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.jpg", exif=b"Exif\0\0nonsense")
    assert decode(tmp_path / "a.jpg").shape == PICTURE.shape


def test_grey_and_palette_and_one_bit(tmp_path):
    grey = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert (decode(tmp_path / "grey.png") == grey[..., None]).all()
    Image.fromarray(PICTURE).quantize(8).save(tmp_path / "palette.png")
    assert (decode(tmp_path / "palette.png") == PICTURE).all()
    Image.fromarray(PICTURE).quantize(8).save(tmp_path / "palette.gif")
    assert (decode(tmp_path / "palette.gif") == PICTURE).all()
    Image.fromarray(grey > 100).save(tmp_path / "bit.png")
    assert (decode(tmp_path / "bit.png") == np.where(grey > 100, 255, 0)[..., None]).all()


@pytest.mark.parametrize("kind", ["png", "tif", "pgm"])
def test_sixteen_bits_keep_their_upper_eight(tmp_path, kind):
    deep = np.array([[0, 256, 257, 32_768, 65_535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / f"a.{kind}")
    assert decode(tmp_path / f"a.{kind}")[0, :, 0].tolist() == [0, 1, 1, 128, 255]


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_transparency_lies_on_white(tmp_path, kind):
    pixels = np.array([[(9, 9, 9, 0), (100, 0, 0, 255), (0, 0, 0, 128)]], np.uint8)
    Image.fromarray(pixels).save(
        tmp_path / f"a.{kind}", **({"lossless": True} if kind == "webp" else {})
    )
    shown = decode(tmp_path / f"a.{kind}")[0].tolist()
    assert shown == [[255] * 3, [100, 0, 0], [127] * 3]


def test_other_kinds_of_transparency_lie_on_white(tmp_path):
    image = Image.fromarray(PICTURE).quantize(8)
    red = image.getpixel((0, 0))
    expected = np.where((PICTURE == (255, 0, 0)).all(2, keepdims=True), 255, PICTURE)
    for name in ("a.png", "a.gif"):
        image.save(tmp_path / name, transparency=red)
        assert (decode(tmp_path / name) == expected).all()
    Image.fromarray(PICTURE).save(tmp_path / "b.png", transparency=(255, 0, 0))
    assert (decode(tmp_path / "b.png") == expected).all()
    Image.new("LA", (2, 1), (50, 0)).save(tmp_path / "c.png")
    assert (decode(tmp_path / "c.png") == 255).all()


def test_first_picture_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (3, 2), (value, 0, 0)) for value in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (decode(tmp_path / "a.gif") == (10, 0, 0)).all()


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
    problems: list[str] = []
    images = decode_images(paths, [path.name for path in paths], problems)
    assert images.shape == (4, 6, 5, 3)
    assert problems == ["0.png: is 9x9, but others are 6x5"]


def test_what_can_not_be_shown_says_why(tmp_path):
    (tmp_path / "empty.png").touch()
    assert complaint(tmp_path / "empty.png") == "here: is empty (0 bytes)"
    (tmp_path / "text.png").write_text("no image")
    assert complaint(tmp_path / "text.png") == "here: cannot be decoded as an image"
    assert complaint(tmp_path / "none.png") == "here: does not exist"
    assert complaint(tmp_path) == "here: is a folder, not an image"
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "float.tif")
    assert "32-bit pixels" in complaint(tmp_path / "float.tif")


def test_formats_that_run_programs_are_not_opened(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert "cannot be decoded" in complaint(tmp_path / "a.png")


@pytest.mark.parametrize("side", [10_000, 30_000])
def test_too_many_pixels_are_refused_by_the_header_without_a_warning(tmp_path, recwarn, side):
    # A GIF declares its size in six bytes.
    (tmp_path / "a.gif").write_bytes(
        b"GIF89a" + side.to_bytes(2, "little") * 2 + b"\0\0\0," + bytes(20)
    )
    problems: list[str] = []
    assert image_sizes([tmp_path / "a.gif"], ["here"], problems) == [None]
    assert problems == ["here: has more than 80 megapixels; make it smaller"]
    assert len(recwarn) == 0


def test_order_and_content_are_the_same_in_memory_and_in_a_file(tmp_path, monkeypatch):
    paths = []
    for i in range(30):
        paths.append(tmp_path / f"{i}.png")
        Image.new("RGB", (5, 6), (i, 0, 0)).save(paths[-1])
    monkeypatch.setattr(decoding, "_CHUNK", 4)
    problems: list[str] = []
    in_memory = decode_images(paths, [str(path) for path in paths], problems)
    monkeypatch.setattr(decoding, "_MAX_IN_MEMORY", 10)
    in_file = decode_images(paths, [str(path) for path in paths], problems)
    assert isinstance(in_file, np.memmap)
    assert in_memory[:, 0, 0, 0].tolist() == list(range(30))
    assert np.array_equal(in_memory, in_file)
