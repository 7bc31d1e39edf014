"""Each corruption against what its published definition fixes."""

import io

import numpy as np
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from PIL import Image
from small_images import constants, near, plain, rng

from debias_pipeline.biased_data.corruptions import (
    CORRUPTION_NAMES,
    CORRUPTIONS,
    SEVERITIES,
    corrupt,
)

WATER = np.array([175, 238, 238])
MUD = np.array([63, 42, 20])


def test_names_in_class_order():
    names = "snow frost fog brightness contrast spatter elastic JPEG pixelate saturate"
    assert " ".join(CORRUPTION_NAMES) == names
    assert all(len(corruption.constants) == 5 for corruption in CORRUPTIONS)


def test_brightness_raises_v_alone(images):
    for severity in SEVERITIES:
        hsv = rgb_to_hsv(images / 255)
        hsv[..., 2] = np.clip(hsv[..., 2] + constants("brightness", severity), 0, 1)
        assert near(corrupt(images, "brightness", severity, rng()), hsv_to_rgb(hsv) * 255)


def test_saturate_scales_and_shifts_s_alone(images):
    for severity in SEVERITIES:
        factor, shift = constants("saturate", severity)
        hsv = rgb_to_hsv(images / 255)
        hsv[..., 1] = np.clip(hsv[..., 1] * factor + shift, 0, 1)
        assert near(corrupt(images, "saturate", severity, rng()), hsv_to_rgb(hsv) * 255)


def test_contrast_scales_the_difference_from_the_channel_mean(images):
    for severity in SEVERITIES:
        mean = images.mean(axis=(1, 2), keepdims=True)
        expected = mean + constants("contrast", severity) * (images - mean)
        assert near(corrupt(images, "contrast", severity, rng()), np.clip(expected, 0, 255))


def test_jpeg_is_pillows_at_that_quality(images):
    for severity, quality in [(1, 80), (2, 65), (3, 58), (4, 50), (5, 40)]:
        corrupted = corrupt(images, "JPEG", severity, rng())
        for clean, found in zip(images, corrupted, strict=True):
            file = io.BytesIO()
            Image.fromarray(clean).save(file, "JPEG", quality=quality)
            assert np.array_equal(np.asarray(Image.open(file)), found)


def test_pixelate_averages_down_and_repeats_up(images):
    for severity, side in [(1, 30), (2, 28), (3, 27), (4, 24), (5, 20)]:
        corrupted = corrupt(images, "pixelate", severity, rng())
        for clean, found in zip(images, corrupted, strict=True):
            blocks = Image.fromarray(clean).resize((side, side), Image.Resampling.BOX)
            again = np.asarray(blocks.resize((32, 32), Image.Resampling.NEAREST))
            assert np.array_equal(again, found)
            assert len(np.unique(np.asarray(blocks).reshape(-1, 3), axis=0)) <= side**2


def test_fog_is_a_cloud_scaled_to_the_clean_maximum():
    for severity in SEVERITIES:
        strength = float(constants("fog", severity)[0])
        clean = plain((60, 120, 200))
        foggy = corrupt(clean, "fog", severity, rng())
        share = 200 / 255 / (200 / 255 + strength)
        # The cloud goes from 0 to 1, so a plain image gets these two levels somewhere.
        assert near(foggy.min(axis=(1, 2)), clean[:, 0, 0] * share)
        assert near(foggy.max(axis=(1, 2)), (clean[:, 0, 0] + 255 * strength) * share)
        # It is grey: what channels differ by is the same everywhere.
        assert near(foggy[..., 2].astype(int) - foggy[..., 0], np.array(140 * share))


def test_frost_dims_the_image_and_lays_a_texture_over_it():
    for severity in SEVERITIES:
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


def test_snow_whitens_the_image_and_adds_flakes_twice():
    for severity in SEVERITIES:
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


def test_water_adds_its_colour():
    for severity in [1, 2, 3]:
        strength = constants("spatter", severity)[4]
        wet = corrupt(plain(0, n=20), "spatter", severity, rng())
        # The brightest drop of each image has the full strength.
        assert near(wet.max(axis=(1, 2)), strength * WATER)
        share = wet[..., 1] / WATER[1]
        assert near(wet, share[..., None] * WATER, 2)
        assert 0.005 < (share > 0).mean() < 0.5


def test_fog_never_outshines_the_clean_image_and_snow_and_water_never_darken_it(images):
    most = images.max(axis=(1, 2, 3))
    for severity in SEVERITIES:
        assert (corrupt(images, "fog", severity, rng()).max(axis=(1, 2, 3)) <= most).all()
        assert (corrupt(images, "snow", severity, rng()) >= images).all()
        if severity <= 3:
            assert (corrupt(images, "spatter", severity, rng()) >= images).all()


def test_mud_covers_with_its_colour():
    for severity in [4, 5]:
        muddy = corrupt(plain(255, n=20), "spatter", severity, rng())
        covered = (muddy != 255).any(axis=-1)
        assert 0.005 < covered.mean() < 0.5
        cover = (255 - muddy[covered].astype(float)) / (255 - MUD)
        assert near(cover, cover[:, :1], 0.02)
        # Thin mud is left out.
        assert cover.min() >= 0.8 - 0.01
        assert cover.max() <= 1


def test_elastic_constants_are_shares_of_the_side():
    shares = [(0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05)]
    shares += [(0.1, 0.03, 0.03)]
    found = np.array([constants("elastic", severity) for severity in SEVERITIES]) / 32
    assert np.allclose(found, shares)


def test_elastic_only_moves_levels(images):
    for severity in SEVERITIES:
        moved = corrupt(images, "elastic", severity, rng())
        assert (moved.max(axis=(1, 2)) <= images.max(axis=(1, 2))).all()
        assert (moved.min(axis=(1, 2)) >= images.min(axis=(1, 2))).all()
        assert near(moved.mean(axis=(1, 2)), images.mean(axis=(1, 2)), 15)
        assert np.array_equal(corrupt(plain(77), "elastic", severity, rng()), plain(77))
