"""Batch transforms against torchvision's per-image ones."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as torchvision_transforms

from debias_pipeline.errors import RecipeError
from debias_pipeline.randomness import generators
from debias_pipeline.transforms import STATISTICS, Transform


def images(count=4, side=8, seed=0, width=None):
    random = np.random.default_rng(seed)
    shape = (count, side, width or side, 3)
    return torch.from_numpy(random.integers(0, 256, shape, dtype=np.uint8))


def torchvision_result(transform, image):
    steps = [*transform, torchvision_transforms.ToTensor()]
    return torchvision_transforms.Compose(steps)(Image.fromarray(image.numpy()))


def test_images_stay_as_they_are_where_nothing_is_to_be_done():
    batch = images()
    of_seeds = generators([0], "augmentation")
    for transformed in (
        Transform().for_evaluation(batch),
        Transform().for_training(batch, of_seeds),
    ):
        assert transformed.dtype == torch.uint8
        assert torch.equal(transformed, batch.movedim(-1, 1))


@pytest.mark.parametrize("name", STATISTICS)
def test_normalising_is_that_of_torchvision(name):
    batch = images()
    normalise = torchvision_transforms.Normalize(*STATISTICS[name])
    expected = torch.stack([normalise(torchvision_result([], image)) for image in batch])
    torch.testing.assert_close(Transform(normalise=name).for_evaluation(batch), expected)


@pytest.mark.parametrize("size", [5, 20])
def test_resizing_is_that_of_torchvision_up_to_its_rounding(size):
    batch = images()
    resize = torchvision_transforms.Resize((size, size))
    expected = torch.stack([torchvision_result([resize], image) for image in batch])
    # torchvision resizes PIL images in whole grey levels.
    torch.testing.assert_close(
        Transform(resize=size).for_evaluation(batch), expected, atol=1.5 / 255, rtol=0
    )


def test_the_transform_of_waterbirds_is_that_of_torchvision():
    """Resize to a square, keep the centre, normalise as ImageNet (kohpangwei/group_DRO)."""
    batch = images(side=12, width=17)
    steps = [torchvision_transforms.Resize((16, 16)), torchvision_transforms.CenterCrop(13)]
    normalise = torchvision_transforms.Normalize(*STATISTICS["imagenet"])
    expected = torch.stack([normalise(torchvision_result(steps, image)) for image in batch])
    ours = Transform(resize=16, centre_crop=13, normalise="imagenet")
    for made in (ours.for_evaluation(batch), ours.for_training(batch, generators([0], "test"))):
        # torchvision resizes PIL images in whole grey levels.
        torch.testing.assert_close(made, expected, atol=1.5 / 255 / 0.22, rtol=0)


def test_the_transform_of_celeba_is_that_of_torchvision():
    """Keep the central square, then resize it (kohpangwei/group_DRO)."""
    batch = images(side=15, width=10)
    steps = [torchvision_transforms.CenterCrop(10), torchvision_transforms.Resize((14, 14))]
    expected = torch.stack([torchvision_result(steps, image) for image in batch])
    made = Transform(square=True, resize=14).for_evaluation(batch)
    torch.testing.assert_close(made, expected, atol=1.5 / 255, rtol=0)


def test_the_size_after_the_transform_is_known_beforehand():
    for transform in (
        Transform(),
        Transform(square=True),
        Transform(resize=6, crop_padding=2),
        Transform(square=True, resize=9, centre_crop=4),
        Transform(centre_crop=5),
    ):
        made = transform.for_evaluation(images(side=8, width=11))
        assert tuple(made.shape[2:]) == transform.output_size(8, 11)


def test_a_centre_crop_larger_than_the_images_is_refused():
    with pytest.raises(RecipeError, match=r"centre_crop=9 is larger.*8 × 11.*recipe\.resize"):
        Transform(centre_crop=9).output_size(8, 11)


def test_evaluation_neither_crops_nor_flips():
    batch = images()
    random = Transform(crop_padding=4, flip=True)
    torch.testing.assert_close(random.for_evaluation(batch), batch.movedim(-1, 1) / 255)


def outcomes_of_torchvision(image, padding):
    """Every image that torchvision's random crop and flip can make, by bytes."""
    padded = np.pad(image.numpy(), ((padding, padding), (padding, padding), (0, 0)))
    side, found = len(image), {}
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            crop = padded[top : top + side, left : left + side]
            found[crop.tobytes()] = (top, left, False)
            found[crop[:, ::-1].tobytes()] = (top, left, True)
    return found


def as_bytes(floats):
    pixels = (floats * 255).round().to(torch.uint8).movedim(1, -1)
    return [image.contiguous().numpy().tobytes() for image in pixels]


def test_crops_and_flips_are_distributed_as_torchvisions():
    """All outcomes of RandomCrop(side, padding=2) and RandomHorizontalFlip, equally often."""
    image, draws = images(1, side=6), 20_000
    possible = outcomes_of_torchvision(image[0], padding=2)
    batch = image.expand(draws, -1, -1, -1)
    random = Transform(crop_padding=2, flip=True)
    counts = Counter(as_bytes(random.for_training(batch, generators([0], "augmentation"))))
    assert set(counts) == set(possible)
    share = np.array([counts[each] for each in possible]) / draws
    expected = 1 / len(possible)
    assert abs(share - expected).max() < 5 * np.sqrt(expected / draws)

    torch.manual_seed(0)
    theirs = torchvision_transforms.Compose(
        [
            torchvision_transforms.RandomCrop(6, padding=2),
            torchvision_transforms.RandomHorizontalFlip(),
        ]
    )
    pil = Image.fromarray(image[0].numpy())
    assert {np.asarray(theirs(pil)).tobytes() for _ in range(2000)} == set(possible)


def test_a_seed_augments_the_same_alone_and_among_others():
    batch = images(6)
    random = Transform(crop_padding=2, flip=True, normalise="cifar10")
    alone = random.for_training(batch, generators([5], "augmentation"))
    among = random.for_training(torch.cat([batch, batch]), generators([3, 5], "augmentation"))
    assert torch.equal(alone, among[6:])
    assert not torch.equal(among[:6], among[6:])


def test_images_of_a_batch_are_augmented_apart_and_nothing_is_written_back():
    batch = images(1).expand(32, -1, -1, -1).contiguous()
    before = batch.clone()
    made = Transform(crop_padding=2, flip=True).for_training(batch, generators([0], "augmentation"))
    assert len(set(as_bytes(made))) > 10
    assert torch.equal(batch, before)


TRANSFORMS = [
    Transform(),
    Transform(crop_padding=4, flip=True, normalise="cifar10"),
    Transform(resize=16),
    Transform(centre_crop=5),
]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_results_are_channels_last(transform):
    made = transform.for_training(images(), generators([0], "augmentation"))
    assert made.is_contiguous(memory_format=torch.channels_last)
