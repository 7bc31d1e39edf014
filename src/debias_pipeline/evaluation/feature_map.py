"""A map of the features of both branches, and the training images next to swapped features."""

from typing import Any, Final

import pandas as pd
import torch
from torch import Tensor

from debias_pipeline.evaluation.dead_units import networks_of_predictions
from debias_pipeline.evaluation.predict import images_in_parts
from debias_pipeline.images import ImageData
from debias_pipeline.methods import Method
from debias_pipeline.networks import ImageNetwork, image_networks, observed
from debias_pipeline.randomness import generator

# The two maps of so many images take 1.5 s on one core.
_MAPPED: Final = 400
_SEARCHED: Final = 2000
_NEAREST: Final = 4


@torch.inference_mode()
def map_features(method: Method, data: ImageData, manifest: pd.DataFrame) -> dict[str, Any]:
    """Return the catalog's `feature_map`: where images lie among the features z_i and z_b.

    z_i are the features of the debiased branch, z_b those of the bias branch. The map is made by
    t-SNE, for each branch alone. Each mapped image A is then paired with another one, B: swapped
    features are z_i of A and z_b of B. Their distance to those of a training image is the sum of
    the squared distances of both branches, each divided by the variance of the branch.

    Args:
        method: trained networks in eval mode; those of the first replica are used.
        data: the images.
        manifest: row i describes image i.

    Returns:
        tensors `mapped`, int64 [n], rows of test images, balanced over groups as far as possible;
        `places`, float32 [n, 2, 2], their places on the maps of z_i and of z_b, in 0..1;
        `partners`, int64 [n], the row of B of each A; `nearest`, int64 [n, 4], rows of the
        nearest training images. All have n = 0 if one of the branches has no network or several.
        Metadata `seed`, and `searched`, the number of training images.
    """
    mapped, searched = _sample(manifest, "test", _MAPPED), _sample(manifest, "train", _SEARCHED)
    of_mapped, of_searched = (branch_features(method, data, each) for each in (mapped, searched))
    if not of_mapped or not of_searched:
        mapped = mapped[:0]
        places, partners = torch.zeros(0, 2, 2), mapped
        nearest = searched.new_empty(0, _NEAREST)
    else:
        places = torch.stack([_map(each) for each in of_mapped], 1)
        other = _other_positions(len(mapped))
        partners = mapped[other]
        of_a, of_b = of_mapped[0], of_mapped[1][other]
        distances = _distances(of_a, of_searched[0]) + _distances(of_b, of_searched[1])
        nearest = searched[distances.argsort(dim=1, stable=True)[:, :_NEAREST]]
    return {
        "tensors": {
            "mapped": mapped,
            "places": places,
            "partners": partners.clone(),
            "nearest": nearest.contiguous(),
        },
        "metadata": {"seed": int(method.task.seeds[0]), "searched": len(searched)},
    }


def _sample(manifest: pd.DataFrame, split: str, most: int) -> Tensor:
    """Return the rows of images of a split, by turns of each group in a random order."""
    of_split = manifest.reset_index(drop=True)[manifest["split"].to_numpy() == split]
    mixed = of_split.sample(frac=1, random_state=0)
    turns = mixed.groupby(["label", "bias"]).cumcount().sort_values(kind="stable")
    return torch.tensor(sorted(turns.index[:most]), dtype=torch.int64)


def _other_positions(count: int) -> Tensor:
    """Return another position for each position, int64 [count], each of them once."""
    # The same for all runs, so that reports of methods and seeds show the same pairs.
    order = torch.randperm(count, generator=generator(0, "partners of the feature map"))
    others = torch.empty_like(order)
    others[order] = order.roll(1)
    return others


def branch_features(method: Method, data: ImageData, rows: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return the features z_i and z_b of images, float32 [n, F] each.

    Args:
        method: see `map_features`.
        data: the images.
        rows: int64 [n].

    Returns:
        None if one of the branches has no network or several.
    """
    of_predictions = set(networks_of_predictions(method))
    debiased: list[Tensor] = []
    bias: list[Tensor] = []

    def keep(network: ImageNetwork, features: Tensor) -> None:
        # An encoder has a branch axis; the first branch is the debiased one.
        branches = features[0].unbind() if features.ndim == 4 else [features[0]]
        found = (debiased, bias) if network in of_predictions else (bias,)
        for of_branch, each in zip(found, branches, strict=False):
            of_branch.append(each.float().cpu())

    parts = 0
    with observed(image_networks(method), keep):
        for images in images_in_parts(method, data, rows):
            method.predict_branches(images)
            parts += 1
    if len(debiased) != parts or len(bias) != parts:
        return None
    return torch.cat(debiased), torch.cat(bias)


def _distances(wanted: Tensor, present: Tensor) -> Tensor:
    """Return squared distances divided by the variance of `present`."""
    return torch.cdist(wanted, present).square() / present.var(0).sum().clamp_min(1e-12)


def _map(features: Tensor) -> Tensor:
    """Return places of images in two dimensions, float32 [n, 2] in 0..1."""
    # Imported here, as it takes a second that every command would wait for.
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    count = len(features)
    if count < 4 or not features.var(0).sum() > 0:
        return torch.full((count, 2), 0.5)
    tsne = TSNE(
        init="pca", perplexity=min(30, (count - 1) / 3), max_iter=500, random_state=0, n_jobs=1
    )
    # The order of sums depends on the number of threads.
    with threadpool_limits(limits=1):
        places = torch.from_numpy(tsne.fit_transform(features.numpy()))
    lowest, highest = places.amin(0), places.amax(0)
    return (places - lowest) / (highest - lowest).clamp_min(1e-12)
