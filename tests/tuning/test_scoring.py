"""Which images a search reads, and in which groups it scores."""

import numpy as np
import pytest

from debias_pipeline.errors import UserError
from debias_pipeline.tuning import known_groups, pseudo_groups, without_test
from training.tiny_runs import tiny_data, tiny_manifest


def test_the_test_split_is_left_out_wherever_it_is():
    manifest = tiny_manifest(np.random.default_rng(0), sizes=(4, 3, 5))
    images = np.arange(12, dtype=np.uint8)
    kept, rows = without_test(images, manifest)
    assert list(kept) == [0, 1, 2, 3, 4, 5, 6] and list(rows["image_id"]) == list(kept)
    assert kept.base is images  # not a copy
    kept, rows = without_test(images[::-1], manifest[::-1])
    assert list(kept) == [6, 5, 4, 3, 2, 1, 0] and list(rows["image_id"]) == list(kept)
    assert list(rows.index) == list(range(7)) and set(rows["split"]) == {"train", "valid"}


def test_without_bias_labels_there_are_pseudo_groups_only():
    with pytest.raises(UserError, match=r"bias-aligned, .*use tune\.selection=pseudo_groups"):
        known_groups(tiny_data(with_bias=False).splits["valid"], 1, "selected")
    groups = pseudo_groups(np.array([[True, True, False], [True, False, False]]))
    assert groups.conflicting == 1 and list(groups.images) == [0, 1, 2]
    with pytest.raises(UserError, match="use more steps"):
        pseudo_groups(np.array([[True, True, False], [True, True, True]]))
