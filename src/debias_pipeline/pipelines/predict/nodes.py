"""The node of the predict pipeline: predict new images with a trained model."""

import logging

import pandas as pd

from debias_pipeline.training import choose_device
from debias_pipeline.use import list_images, load_classifier

logger = logging.getLogger(__name__)


def predict_images(
    model: str, images: str, rule: str, model_seed: int | None, device: str
) -> pd.DataFrame:
    """Predict the labels of new images.

    Args:
        model: see `use.load_classifier`.
        images: see `use.list_images`.
        rule: selection rule of the networks.
        model_seed: seed of the networks; None takes the first.
        device: see conf/base/parameters.yml.

    Returns:
        See `use.Classifier.predict`.
    """
    classifier = load_classifier(model, rule, model_seed).to(choose_device(device))
    files, names = list_images(images)
    logger.info(
        "Predicting %s images with the networks of seed %d, selection rule %s",
        f"{len(files):,}",
        classifier.seed,
        rule,
    )
    table = classifier.predict(files, names)
    for label, group in table.groupby("prediction", sort=False):
        logger.info(
            "%s: %s images, mean confidence %.0f %%",
            label,
            f"{len(group):,}",
            100 * group["confidence"].mean(),
        )
    return table
