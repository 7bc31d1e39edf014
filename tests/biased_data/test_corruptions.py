"""Each corruption against what its published definition fixes."""

import io
import os

import numpy as np
import pytest
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from PIL import Image
from scipy import ndimage

from debias_pipeline.biased_data import corruptions
from debias_pipeline.biased_data.corruptions import (
    CORRUPTION_NAMES,
    CORRUPTIONS,
    SEVERITIES,
    SHEET_GAP,
    contact_sheet,
    corrupt,
    corrupt_each,
)

N = 6
WATER = np.array([175, 238, 238])
MUD = np.array([63, 42, 20])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def constants(name: str, severity: int):
    return CORRUPTIONS[CORRUPTION_NAMES.index(name)].constants[severity - 1]


def plain(level: int | tuple[int, int, int], n: int = N) -> np.ndarray:
    return np.full((n, 32, 32, 3), level, np.uint8)


def near(found: np.ndarray, expected: np.ndarray, levels: float = 1.01) -> bool:
    return bool((np.abs(found.astype(float) - expected) <= levels).all())


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Smooth colours with some noise, a black corner and a grey one: what photographs have."""
    generator = rng(7)
    smooth = ndimage.gaussian_filter(generator.normal(size=(N, 32, 32, 3)), (0, 3, 3, 0))
    levels = 128 + 900 * smooth + generator.normal(0, 8, smooth.shape)
    made = np.clip(levels, 0, 255).astype(np.uint8)
    made[:, :4, :4] = 0
    made[:, -4:, -4:] = 90
    return made


def test_names_in_class_order():
    assert CORRUPTION_NAMES == (
        "snow",
        "frost",
        "fog",
        "brightness",
        "contrast",
        "spatter",
        "elastic",
        "JPEG",
        "pixelate",
        "saturate",
    )
    assert all(len(corruption.constants) == 5 for corruption in CORRUPTIONS)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", CORRUPTION_NAMES)
def test_keeps_shape_type_and_input_and_changes_something(images, name, severity):
    before = images.copy()
    corrupted = corrupt(images, name, severity, rng())
    assert corrupted.shape == images.shape
    assert corrupted.dtype == np.uint8
    assert np.array_equal(images, before)
    assert all((was != now).any() for was, now in zip(images, corrupted, strict=True))


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", CORRUPTION_NAMES)
def test_a_batch_equals_its_images_one_by_one(images, name, severity):
    generator = rng(3)
    singly = np.concatenate(
        [corrupt(images[row : row + 1], name, severity, generator) for row in range(N)]
    )
    assert np.array_equal(corrupt(images, name, severity, rng(3)), singly)


@pytest.mark.parametrize("name", ["snow", "frost", "fog", "spatter", "elastic"])
def test_seed_decides(images, name):
    first = corrupt(images, name, 4, rng(1))
    assert np.array_equal(first, corrupt(images, name, 4, rng(1)))
    assert not np.array_equal(first, corrupt(images, name, 4, rng(2)))


@pytest.mark.parametrize("name", ["snow", "frost", "fog", "spatter", "elastic"])
def test_equal_images_are_corrupted_differently(name):
    ramp = np.linspace(0, 255, 32 * 32 * 3).reshape(1, 32, 32, 3).astype(np.uint8)
    first, second = corrupt(np.repeat(ramp, 2, axis=0), name, 4, rng())
    assert not np.array_equal(first, second)


def test_mixture_depends_on_neither_chunks_nor_threads(images, monkeypatch):
    kinds = np.arange(10).repeat(4)
    clean = images[np.arange(40) % N]
    first = clean.copy()
    corrupt_each(first, kinds, 4, rng())
    monkeypatch.setattr(corruptions, "_CHUNK", 3)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    second = clean.copy()
    corrupt_each(second, kinds, 4, rng())
    assert np.array_equal(first, second)


def test_mixture_gives_each_image_its_own(images):
    mixed = images.copy()
    corrupt_each(mixed, np.array([3, 4, 7, 8, 9, 3]), 2, rng())
    for row, name in enumerate(["brightness", "contrast", "JPEG", "pixelate", "saturate"]):
        assert np.array_equal(mixed[row], corrupt(images, name, 2, rng())[row])


def test_no_images_are_no_trouble():
    for name in CORRUPTION_NAMES:
        assert corrupt(plain(0, n=0), name, 1, rng()).shape == (0, 32, 32, 3)


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5])
def test_severity_must_be_1_to_5(images, severity):
    with pytest.raises(ValueError, match="severity"):
        corrupt(images, "fog", severity, rng())


def test_what_is_no_image_or_corruption_is_refused(images):
    with pytest.raises(ValueError, match="choose one of snow, frost"):
        corrupt(images, "hail", 1, rng())
    with pytest.raises(ValueError, match="uint8"):
        corrupt(images.astype(float), "fog", 1, rng())
    with pytest.raises(ValueError, match="32 x 32"):
        corrupt(images[:, :16], "fog", 1, rng())
    with pytest.raises(ValueError, match="Kinds"):
        corrupt_each(images.copy(), np.full(N, 10), 1, rng())


@pytest.mark.parametrize("severity", SEVERITIES)
def test_brightness_raises_v_alone(images, severity):
    hsv = rgb_to_hsv(images / 255)
    hsv[..., 2] = np.clip(hsv[..., 2] + constants("brightness", severity), 0, 1)
    assert near(corrupt(images, "brightness", severity, rng()), hsv_to_rgb(hsv) * 255)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_saturate_scales_and_shifts_s_alone(images, severity):
    factor, shift = constants("saturate", severity)
    hsv = rgb_to_hsv(images / 255)
    hsv[..., 1] = np.clip(hsv[..., 1] * factor + shift, 0, 1)
    assert near(corrupt(images, "saturate", severity, rng()), hsv_to_rgb(hsv) * 255)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_contrast_scales_the_difference_from_the_channel_mean(images, severity):
    mean = images.mean(axis=(1, 2), keepdims=True)
    expected = mean + constants("contrast", severity) * (images - mean)
    assert near(corrupt(images, "contrast", severity, rng()), np.clip(expected, 0, 255))


@pytest.mark.parametrize(("severity", "quality"), [(1, 80), (2, 65), (3, 58), (4, 50), (5, 40)])
def test_jpeg_is_pillows_at_that_quality(images, severity, quality):
    corrupted = corrupt(images, "JPEG", severity, rng())
    for clean, found in zip(images, corrupted, strict=True):
        file = io.BytesIO()
        Image.fromarray(clean).save(file, "JPEG", quality=quality)
        assert np.array_equal(np.asarray(Image.open(file)), found)


@pytest.mark.parametrize(("severity", "side"), [(1, 30), (2, 28), (3, 27), (4, 24), (5, 20)])
def test_pixelate_averages_down_and_repeats_up(images, severity, side):
    corrupted = corrupt(images, "pixelate", severity, rng())
    for clean, found in zip(images, corrupted, strict=True):
        blocks = Image.fromarray(clean).resize((side, side), Image.Resampling.BOX)
        again = np.asarray(blocks.resize((32, 32), Image.Resampling.NEAREST))
        assert np.array_equal(again, found)
        assert len(np.unique(np.asarray(blocks).reshape(-1, 3), axis=0)) <= side**2


@pytest.mark.parametrize("severity", SEVERITIES)
def test_fog_is_a_cloud_scaled_to_the_clean_maximum(severity):
    strength = float(constants("fog", severity)[0])
    clean = plain((60, 120, 200))
    foggy = corrupt(clean, "fog", severity, rng())
    share = 200 / 255 / (200 / 255 + strength)
    # The cloud goes from 0 to 1, so a plain image gets these two levels somewhere.
    assert near(foggy.min(axis=(1, 2)), clean[:, 0, 0] * share)
    assert near(foggy.max(axis=(1, 2)), (clean[:, 0, 0] + 255 * strength) * share)
    # It is grey: what channels differ by is the same everywhere.
    assert near(foggy[..., 2].astype(int) - foggy[..., 0], np.array(140 * share))


def test_fog_never_outshines_the_clean_image(images):
    most = images.max(axis=(1, 2, 3))
    for severity in SEVERITIES:
        assert (corrupt(images, "fog", severity, rng()).max(axis=(1, 2, 3)) <= most).all()


def test_fog_is_finer_where_it_decays_less():
    def roughness(decay):
        noise = rng().uniform(-1, 1, (40, 32, 32))
        return np.abs(np.diff(corruptions._plasma(noise, decay))).mean()

    assert roughness(3) < roughness(2) < roughness(1.75)


def test_fog_is_midpoint_displacement():
    """A cloud without noise but at its centre: half of it at the crosses, and so on."""
    noise = np.zeros((1, 32, 32))
    noise[0, 16, 16] = 1
    cloud = corruptions._plasma(noise, 3)[0]
    assert cloud[0, 0] == 0
    assert cloud[16, 16] == 1
    # The edges meet, so a cross lies between the centre, twice, and the corner, twice.
    assert cloud[0, 16] == cloud[16, 0] == 0.5
    assert cloud[8, 8] == (0 + 1 + 0.5 + 0.5) / 4
    assert cloud[0, 8] == (0 + 0.5 + 2 * cloud[8, 8]) / 4


@pytest.mark.parametrize("severity", SEVERITIES)
def test_frost_dims_the_image_and_lays_a_texture_over_it(severity):
    keep, strength = constants("frost", severity)
    black = corrupt(plain(0), "frost", severity, rng())
    grey = corrupt(plain(100), "frost", severity, rng())
    assert black.max() <= 255 * strength
    assert black.std(axis=(1, 2)).min() > 5
    assert near(grey, np.minimum(black + 100.0 * keep, 255))


def test_frost_grows_with_its_strength_and_is_of_a_pale_blue():
    strength = [constants("frost", severity)[1] for severity in SEVERITIES]
    means = [corrupt(plain(0), "frost", severity, rng()).mean() for severity in SEVERITIES]
    ratios = np.array(means) / strength
    assert np.allclose(ratios, ratios[0], rtol=0.05)
    red, green, blue = corrupt(plain(0, n=50), "frost", 5, rng()).mean(axis=(0, 1, 2))
    assert red < green < blue < 1.25 * red


def test_frost_textures_are_five_and_the_same_in_every_run():
    textures = corruptions._frost_textures()
    assert len(textures) == 5
    assert textures.min() >= 0
    assert textures.max() <= 1
    corruptions._frost_textures.cache_clear()
    assert np.array_equal(textures, corruptions._frost_textures())


@pytest.mark.parametrize("severity", SEVERITIES)
def test_snow_whitens_the_image_and_adds_flakes_twice(severity):
    keep = constants("snow", severity)[-1]
    clean = plain(40)
    snowy = corrupt(clean, "snow", severity, rng())
    ground = keep * 40 + (1 - keep) * (40 * 1.5 + 127.5)
    assert snowy.min() >= int(ground)
    if severity < 5:
        assert near(snowy.min(), np.array(ground), 3)
    # Flakes fall on the image and, turned by half a circle, once more; they are grey.
    assert near(snowy, snowy[:, ::-1, ::-1])
    assert (snowy == snowy[..., :1]).all()
    assert snowy.max() > ground + 20


def test_snow_never_darkens(images):
    for severity in SEVERITIES:
        assert (corrupt(images, "snow", severity, rng()) >= images).all()


@pytest.mark.parametrize("factor", [1, 1.25, 1.75, 2.25])
def test_flakes_are_enlarged_like_scipys_zoom(factor):
    layer = rng().normal(size=(2, 32, 32))
    inner = int(np.ceil(32 / factor))
    top = (32 - inner) // 2
    piece = layer[:, top : top + inner, top : top + inner]
    whole = ndimage.zoom(piece, (1, factor, factor), order=1)
    trim = (whole.shape[1] - 32) // 2
    expected = whole[:, trim : trim + 32, trim : trim + 32]
    assert np.allclose(corruptions._zoom(layer, factor), expected)


def test_streaks_are_half_a_bell_curve():
    layer = np.zeros((2, 32, 32))
    layer[:, 10, 16] = 1
    down, slanted = corruptions._motion_blur(layer, 5, 2, np.deg2rad([-90, -45]))
    bell = np.exp(-(np.arange(11) ** 2) / 8)
    bell /= bell.sum()
    assert np.allclose(down[10:21, 16], bell)
    assert np.allclose(down.sum(), 1)
    assert np.allclose(slanted.sum(), 1)
    rows, columns = np.nonzero(slanted > 1e-3)
    assert np.array_equal(rows - 10, 16 - columns)


@pytest.mark.parametrize("severity", [1, 2, 3])
def test_water_adds_its_colour(severity):
    strength = constants("spatter", severity)[4]
    wet = corrupt(plain(0, n=20), "spatter", severity, rng())
    # The brightest drop of each image has the full strength.
    assert near(wet.max(axis=(1, 2)), strength * WATER)
    share = wet[..., 1] / WATER[1]
    assert near(wet, share[..., None] * WATER, 2)
    assert 0.005 < (share > 0).mean() < 0.5


def test_water_only_brightens(images):
    for severity in (1, 2, 3):
        assert (corrupt(images, "spatter", severity, rng()) >= images).all()


@pytest.mark.parametrize("severity", [4, 5])
def test_mud_covers_with_its_colour(severity):
    muddy = corrupt(plain(255, n=20), "spatter", severity, rng())
    covered = (muddy != 255).any(axis=-1)
    assert 0.005 < covered.mean() < 0.5
    cover = (255 - muddy[covered].astype(float)) / (255 - MUD)
    assert near(cover, cover[:, :1], 0.02)
    # Thin mud is left out.
    assert cover.min() >= 0.8 - 0.01
    assert cover.max() <= 1


def test_no_drop_no_change():
    layer = np.zeros((2, 32, 32))
    assert not corruptions._water(layer).any()


def test_distances_end_at_the_image():
    edges = np.zeros((3, 32, 32), bool)
    edges[1, 5, 5] = True
    distance = corruptions._distance(edges)
    rows, columns = np.indices((32, 32))
    assert np.allclose(distance[1], np.hypot(rows - 5, columns - 5))
    assert distance[[0, 2]].min() > 32


def test_equalised_levels_reach_from_0_to_255():
    image = rng().integers(100, 110, (1, 32, 32), dtype=np.uint8)
    level = corruptions._equalise(np.concatenate([image, np.full_like(image, 9)]))
    assert (level[0].min(), level[0].max()) == (0, 255)
    assert (np.diff(level[0].ravel()[np.argsort(image.ravel(), kind="stable")]) >= 0).all()
    assert (level[1] == 9).all()


def test_edges_lie_where_a_step_is():
    image = np.zeros((2, 32, 32), np.uint8)
    image[0, :, 16:] = 200
    image[1, :, 16:] = 10  # too faint
    edges = corruptions._edges(image)
    assert edges[0].sum() == 32
    assert edges[0][:, 15:17].sum() == 32
    assert not edges[1].any()


def test_elastic_constants_are_shares_of_the_side():
    found = np.array([constants("elastic", severity) for severity in SEVERITIES]) / 32
    expected = [
        (0, 0, 0.08),
        (0.05, 0.2, 0.07),
        (0.08, 0.06, 0.06),
        (0.1, 0.04, 0.05),
        (0.1, 0.03, 0.03),
    ]
    assert np.allclose(found, expected)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_elastic_only_moves_levels(images, severity):
    moved = corrupt(images, "elastic", severity, rng())
    assert (moved.max(axis=(1, 2)) <= images.max(axis=(1, 2))).all()
    assert (moved.min(axis=(1, 2)) >= images.min(axis=(1, 2))).all()
    assert near(moved.mean(axis=(1, 2)), images.mean(axis=(1, 2)), 15)
    assert np.array_equal(corrupt(plain(77), "elastic", severity, rng()), plain(77))


def test_elastic_without_displacement_is_affine():
    ramp = np.repeat(np.arange(32)[:, None] * 8.0, 32, axis=1)
    planes = np.broadcast_to(ramp, (3, 4, 32, 32)) / 255
    shifts = rng().uniform(-2.56, 2.56, (4, 3, 2))
    warped = corruptions._warp_affine(planes, shifts)[:, :, 8:24, 8:24]
    assert np.allclose(np.diff(warped, 2, axis=-1), 0, atol=1e-6)
    assert np.allclose(np.diff(warped, 2, axis=-2), 0, atol=1e-6)


def test_affine_map_takes_the_three_points_where_it_should():
    shifts = np.array([[(1, 2), (-2, 1), (2, -1)]])
    planes = np.zeros((3, 1, 32, 32))
    for channel, (x, y) in enumerate([(26, 26), (26, 6), (6, 6)]):
        planes[channel, 0, y, x] = 1
    warped = corruptions._warp_affine(planes, shifts)
    for channel, (x, y) in enumerate([(27, 28), (24, 7), (8, 5)]):
        assert warped[channel, 0, y, x] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("fold", "mode"), [("_fold_at_centre", "mirror"), ("_fold_at_edge", "reflect")]
)
def test_sampling_is_scipys(images, fold, mode):
    planes = images.transpose(3, 0, 1, 2) / 255
    rows, columns = rng().uniform(-40, 72, (2, N, 32, 32))
    found = corruptions._sample(planes, rows, columns, getattr(corruptions, fold))
    for row in range(N):
        expected = ndimage.map_coordinates(
            planes[1, row], [rows[row], columns[row]], order=1, mode=mode
        )
        assert np.allclose(found[1, row], expected, atol=1e-5)


def test_contact_sheet_shows_all(images):
    sheet = contact_sheet(images[:2], seed=0)
    pitch = 32 + SHEET_GAP
    assert sheet.dtype == np.uint8
    assert sheet.shape == (10 * pitch - SHEET_GAP, 12 * pitch - SHEET_GAP, 3)
    for row in range(10):
        for which in range(2):
            cell = sheet[row * pitch :, which * 6 * pitch :][:32, :32]
            assert np.array_equal(cell, images[which])
    jpeg = sheet[7 * pitch :, (6 + 4) * pitch :][:32, :32]
    assert np.array_equal(jpeg, corrupt(images[1:2], "JPEG", 4, rng())[0])
    assert (sheet[32 : 32 + SHEET_GAP] == 255).all()
    assert np.array_equal(sheet, contact_sheet(images[:2], seed=0))
