"""Wiring of training: one modular pipeline, instantiated once per method."""

from kedro.pipeline import Pipeline, node, pipeline

from debias_pipeline.pipelines.training.nodes import train_method

RUN_PARAMETERS = (
    "params:seed",
    "params:seeds",
    "params:device",
    "params:precision",
    "params:threads",
    "params:resume",
)


def create_pipeline(method: str) -> Pipeline:
    """Images and manifest → checkpoint, history, sample weights and a record of the run.

    Args:
        method: the namespace; the method is the one that `params:<method>.recipe` names.
    """
    training = pipeline(
        [
            node(
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
    )
    return pipeline(
        training,
        namespace=method,
        inputs={"images", "manifest", "data_card"},
        parameters=set(RUN_PARAMETERS),
        tags=["training"],
    )
