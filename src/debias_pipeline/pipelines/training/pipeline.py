"""The training pipeline, created once per method in the method's namespace."""

from kedro.pipeline import Pipeline, pipeline

from debias_pipeline.described import described_node
from debias_pipeline.pipelines.training.nodes import train_method

RUN_PARAMETERS = (
    "params:seed",
    "params:seeds",
    "params:device",
    "params:precision",
    "params:threads",
    "params:resume",
)


TRAINING = [
    described_node(
        train_method,
        inputs=[
            "images",
            "manifest",
            "data_card",
            "snapshots",
            "params:recipe",
            *RUN_PARAMETERS,
        ],
        outputs=["checkpoint", "history", "sample_weights", "training_record"],
        name="train",
    )
]


def create_pipeline(method: str) -> Pipeline:
    """Return the pipeline that trains a method with the recipe `params:<method>.recipe`."""
    return pipeline(
        TRAINING,
        namespace=method,
        inputs={"images", "manifest", "data_card"},
        parameters=set(RUN_PARAMETERS),
        tags=["training"],
    )
