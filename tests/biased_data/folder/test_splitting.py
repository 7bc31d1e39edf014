import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from debias_pipeline.biased_data.folder.splitting import SHARES, make_missing_splits

cells = st.lists(
    st.tuples(st.integers(0, 3), st.integers(-1, 2), st.integers(1, 60)), min_size=1, max_size=8
)


def rows_of(cells) -> tuple[np.ndarray, np.ndarray]:
    label = np.concatenate([np.full(n, label, np.int16) for label, _, n in cells])
    bias = np.concatenate([np.full(n, bias, np.int16) for _, bias, n in cells])
    return label, bias


def draw(label, bias, split=None, seed=0) -> np.ndarray:
    split = np.full(len(label), "train") if split is None else split
    return make_missing_splits(split, label, bias, np.random.default_rng(seed))


@given(cells, st.integers(0, 5))
def test_every_cell_gives_every_split_its_share(cells, seed):
    label, bias = rows_of(cells)
    split = draw(label, bias, seed=seed)
    rescued = len(np.unique(label))  # labels may need an image back
    for name, share in SHARES.items():
        assert abs((split == name).sum() - share * len(label)) < 2 + rescued
    for value in np.unique(label):
        assert "train" in split[label == value]
        for side in np.unique(bias):
            cell = (label == value) & (bias == side)
            for name, share in SHARES.items():
                assert abs((split[cell] == name).sum() - share * cell.sum()) < 3


@given(cells)
def test_same_seed_same_splits(cells):
    label, bias = rows_of(cells)
    assert (draw(label, bias, seed=3) == draw(label, bias, seed=3)).all()


def test_seeds_differ():
    label, bias = rows_of([(0, 0, 100), (1, 1, 100)])
    assert (draw(label, bias, seed=0) != draw(label, bias, seed=1)).any()


def test_exact_where_cells_are_round():
    label, bias = rows_of([(0, 0, 100), (0, 1, 10), (1, 0, 10), (1, 1, 100)])
    split = draw(label, bias)
    for value, side, n in ((0, 0, 100), (0, 1, 10), (1, 0, 10), (1, 1, 100)):
        cell = split[(label == value) & (bias == side)]
        assert abs((cell == "test").sum() - n // 5) <= 1
        assert abs((cell == "valid").sum() - n // 10) <= 1
    assert abs((split == "test").sum() - 44) <= 1


@pytest.mark.parametrize(
    ("present", "made", "share"), [("test", "valid", 1 / 8), ("valid", "test", 2 / 9)]
)
def test_a_single_missing_split_is_drawn_from_train_only(present, made, share):
    label, bias = rows_of([(0, 0, 180), (1, 1, 180)])
    split = np.full(360, "train")
    split[::5] = present
    drawn = draw(label, bias, split)
    assert ((drawn == present) == (split == present)).all()
    assert abs((drawn == made).sum() - share * 288) <= 1


def test_complete_splits_stay():
    label, bias = rows_of([(0, 0, 30)])
    split = np.array(["train", "valid", "test"] * 10)
    assert (draw(label, bias, split) == split).all()
